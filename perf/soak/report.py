"""What a run has shown, in lines."""

from __future__ import annotations

from collections.abc import Iterator

from perf.soak.run import Outcome


def lines(outcome: Outcome) -> Iterator[str]:
    """Numbers first, faults last."""
    options = outcome.options
    yield (
        f"{options.seconds / 60:g} minutes, seed {options.seed}, {outcome.lives} lives:"
        f" {outcome.sent:,} events sent, {outcome.acknowledged:,} acknowledged, {outcome.standing:,} must stand,"
        f" {outcome.found:,} found by id, {outcome.exported:,} exported, {outcome.lost} lost, {outcome.doubled} doubled"
    )
    for held in outcome.bounds:
        files = held.descriptors_start, held.descriptors_most, held.descriptors_end
        memory = (f"{one / 1e6:.0f}" for one in (held.rss_start, held.rss_most, held.rss_end))
        yield f"at first, at most, at the end: RSS {', '.join(memory)} MB; open files {', '.join(map(str, files))}"
    for name, number in sorted(outcome.counts.items()):
        yield f"  {number:9,}  {name}"
    for sort, number in outcome.sorts.items():
        yield f"FAULTS  {sort}: {number}"
    for fault in outcome.faults:
        yield f"  {fault}"
    yield "failed" if outcome.faults else "nothing lost, nothing doubled, nothing left"
