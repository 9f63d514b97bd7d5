"""A scenario by the relay and its peers, in turn, in several rounds, between two looks at the yardstick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from perf import yardstick
from perf.ceiling import BARE
from perf.figures import figures, judge
from perf.filling import Stores
from perf.importing import PIPELINE
from perf.measuring import measure
from perf.results import CLOSED, PACED, Run, Sample, Tell
from perf.scenarios import Scenario
from perf.servers import OURS, Command

MOST_ATTEMPTS: Final = 3


def compare(
    scenario: Scenario,
    servers: Sequence[Command],
    rounds: int,
    stores: Stores,
    others: Mapping[str, float],
    tell: Tell,
) -> Run:
    """Measure until V was steady meanwhile, but not for ever.

    Args:
        scenario: which one.
        servers: ours and the peers that are here.
        rounds: in each of which every server is started, loaded and ended.
        stores: what they find.
        others: of scenarios before, our CPU in V.
        tell: gets a line about each sample.
    """
    why = "cannot read a store that ours has filled" if scenario.plan.filled else scenario.alone
    skipped = {one.name: why for one in servers if why and not _belongs(one, scenario)}
    chosen = [one for one in servers if one.name not in skipped]
    if scenario.has_ceiling:
        chosen.append(BARE)
    if scenario.is_import:
        chosen.append(PIPELINE)
    for attempt in range(1, MOST_ATTEMPTS + 1):
        first = yardstick.before()
        samples = _take_turns(scenario, chosen, rounds, stores, tell)
        units = yardstick.after(first)
        if units.drift <= yardstick.MOST_DRIFT:
            break
        again = "once more" if attempt < MOST_ATTEMPTS else "left at that"
        tell(f"  V has moved by {units.drift:.0%} meanwhile: {again}")
    rows = figures(samples, units)
    judged = PACED if scenario.share else CLOSED
    rates = {row.server: row.rate for row in rows if row.part == judged}
    own = next((row for row in rows if row.server == OURS.name and row.part == judged), None)
    return Run(
        scenario=scenario.name,
        title=scenario.title,
        yardstick=units,
        attempts=attempt,
        figures=rows,
        verdicts=[judge(bar, own, units, {**others, **rates}) for bar in scenario.bars],
        skipped=skipped,
        failed={sample.server: sample.failure for sample in samples if sample.failure},
        samples=samples,
    )


def _belongs(one: Command, scenario: Scenario) -> bool:
    """Whether a server takes part where others do not."""
    return one is OURS or (bool(scenario.plan.filled) and one.reads_ours)


def _take_turns(
    scenario: Scenario, servers: Sequence[Command], rounds: int, stores: Stores, tell: Tell
) -> list[Sample]:
    """Every server in every round; who fails has no further one."""
    samples: list[Sample] = []
    for number in range(1, rounds + 1):
        failed = {sample.server for sample in samples if sample.failure}
        for server in servers:
            if server.name in failed:
                continue
            for sample in measure(scenario, server, stores):
                samples.append(msgspec.structs.replace(sample, round=number))
                tell(f"  round {number}  {_line(sample)}")
    return samples


def _line(sample: Sample) -> str:
    if sample.counted is None:
        return f"{sample.server:16} failed: {sample.failure}"
    asked = f", {sample.rate:,.0f} asked for" if sample.rate else ""
    rate = sample.counted.operations / sample.counted.seconds
    return f"{sample.server:16} {rate:10,.0f}/s  {sample.cpu / sample.counted.operations * 1e6:10,.1f} µs of CPU{asked}"
