"""From every round's numbers to medians, and from those to verdicts on the bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from perf.plan import Counted
from perf.results import Figures, Sample, Verdict
from perf.scenarios import Bar
from perf.yardstick import Yardstick

_SHARE: Final = {"p50": 0, "p99": 1}


def figures(samples: Sequence[Sample], yardstick: Yardstick) -> list[Figures]:
    """Medians over the rounds, a row for each server and part in the order in which they came."""
    groups: dict[tuple[str, str], list[tuple[Sample, Counted]]] = {}
    for sample in samples:
        if sample.counted is not None:
            groups.setdefault((sample.server, sample.part), []).append((sample, sample.counted))
    return [_medians(server, part, group, yardstick) for (server, part), group in groups.items()]


def _medians(server: str, part: str, group: list[tuple[Sample, Counted]], yardstick: Yardstick) -> Figures:
    cpu = median(sample.cpu / counted.operations for sample, counted in group) * 1e6
    generator = median(counted.cpu / counted.operations for _, counted in group) * 1e6
    kinds = dict.fromkeys(kind for _, counted in group for kind in counted.latencies)
    return Figures(
        server=server,
        part=part,
        rate=median(counted.operations / counted.seconds for _, counted in group),
        messages=median(counted.messages / counted.seconds for _, counted in group),
        latencies={kind: (_latency(group, kind, 0), _latency(group, kind, 1)) for kind in kinds},
        cpu=cpu,
        v=cpu / yardstick.verification,
        rss=median(sample.rss[1] for sample, _ in group),
        growth=median((sample.rss[1] - sample.rss[0]) / counted.operations for sample, counted in group),
        cores=median((sample.cpu + sample.node_cpu + counted.cpu) / counted.seconds for sample, counted in group),
        generator_cpu=generator,
        ceiling=1e6 / generator if generator else 0,
        node_cpu=median(sample.node_cpu / counted.operations for sample, counted in group) * 1e6,
        batch=median(sample.batch for sample, _ in group),
        matches=median(counted.matches / counted.operations for _, counted in group),
        rounds=median(counted.messages / counted.operations if counted.sent else 0 for _, counted in group),
        sent=median(counted.sent / counted.operations for _, counted in group),
        received=median(counted.received / counted.operations for _, counted in group),
    )


def _latency(group: list[tuple[Sample, Counted]], kind: str, share: int) -> float:
    return median(counted.latencies[kind][share] for _, counted in group if kind in counted.latencies) * 1e6


def judge(bar: Bar, own: Figures | None, yardstick: Yardstick, others: Mapping[str, float]) -> Verdict:
    """Whether the relay reaches a bar.

    Args:
        bar: which one.
        own: the relay's numbers in the part that the bar is for; None if there are none.
        yardstick: of the same run.
        others: what "x" may refer to, as far as measured: by scenario, the relay's CPU in V; by name, rates of servers
            beside it.
    """
    value = None if own is None else _value(bar, own, yardstick, others)
    is_reached = None if value is None else (value >= bar.limit if bar.is_least else value <= bar.limit)
    return Verdict(bar=describe(bar), value=value, is_reached=is_reached)


def describe(bar: Bar) -> str:
    """What a bar says."""
    amount = f"{bar.limit:,g} x that of {bar.other}" if bar.other else f"{bar.limit:,g} {bar.unit}"
    compared = f" (strfry {bar.strfry:,g})" if bar.strfry is not None else ""
    return f"{bar.quantity} at {'least' if bar.is_least else 'most'} {amount}{compared}"


def _value(bar: Bar, own: Figures, yardstick: Yardstick, others: Mapping[str, float]) -> float | None:
    """In the bar's unit."""
    quantile, _, kind = bar.quantity.partition(" ")
    if kind:
        if kind not in own.latencies:
            return None
        microseconds = own.latencies[kind][_SHARE[quantile]]
    else:
        microseconds = own.cpu
    match bar.unit:
        case "V":
            return microseconds / yardstick.verification
        case "V+F":
            return microseconds / (yardstick.verification + yardstick.fdatasync)
        case "ms":
            return microseconds / 1e3
        case "x":
            mine = own.rate if bar.quantity == "rate" else own.v
            return mine / others[bar.other] if bar.other in others else None
        case "B":
            return own.growth
        case "cores":
            return own.cores
        case "/s":
            return own.messages
    raise ValueError(bar.unit)
