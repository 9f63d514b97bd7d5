"""Metrics of mirrors: how each link to another relay is, and what came of the events that went over it.

Each has the other relay's bare URL and the direction as labels, since one relay may be followed by one
table and fed by another. Relays come and go with the configuration, so there are as many series as tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from trio_relay.pipeline.statistics import MirrorStatistics

MirrorsStatistics: TypeAlias = Mapping[tuple[str, str], MirrorStatistics]
Value: TypeAlias = Callable[[MirrorStatistics], float]

_LABELS: Final = ("mirror", "direction")


def of_mirrors(mirrors: MirrorsStatistics) -> Iterator[Metric]:
    """Yield the metrics of all mirrors.

    Args:
        mirrors: by the other relay's URL and the direction.
    """
    yield _gauges(
        mirrors, "connected", "1 while there is a connection to the other relay", lambda one: one.is_connected
    )
    yield _gauges(mirrors, "waiting", "Events that are still to be given to the other relay", lambda one: one.waiting)
    yield _counters(mirrors, "catch_ups", "Times that both relays were compared to the end", lambda one: one.catch_ups)
    yield _counters(mirrors, "retries", "Times that the other relay was tried again", lambda one: one.retries)
    text = "What became of events that went over a mirror, by outcome"
    events = CounterMetricFamily("trio_relay_mirror_events", text, labels=[*_LABELS, "outcome"])
    for names, one in sorted(mirrors.items(), key=_by_name):
        for outcome, number in sorted(one.outcomes.items()):
            events.add_metric([*names, outcome], number)
    yield events


def _gauges(mirrors: MirrorsStatistics, name: str, text: str, value: Value) -> Metric:
    family = GaugeMetricFamily(f"trio_relay_mirror_{name}", text, labels=_LABELS)
    for names, one in sorted(mirrors.items(), key=_by_name):
        family.add_metric(names, value(one))
    return family


def _counters(mirrors: MirrorsStatistics, name: str, text: str, value: Value) -> Metric:
    family = CounterMetricFamily(f"trio_relay_mirror_{name}", text, labels=_LABELS)
    for names, one in sorted(mirrors.items(), key=_by_name):
        family.add_metric(names, value(one))
    return family


def _by_name(item: tuple[tuple[str, str], MirrorStatistics]) -> tuple[str, str]:
    return item[0]
