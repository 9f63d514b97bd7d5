"""The end of a run: the ledger against the store, both ways, and what the relay has said and kept meanwhile."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import trio

from perf.soak.clients import Stage, stored
from perf.soak.ledger import Fate, Ledger, expiration_of
from perf.soak.program import Program, Sample
from perf.soak.talk import Gone, talking
from perf.soak.tally import Tally

_ADDRESS: Final = "192.0.2.250"
_CHUNK: Final = 400
_TRIES: Final = 20
_CALM: Final = 2.0
MOST_RSS: Final = 300e6
"""Bytes of one process of the relay at any time."""
MOST_GROWTH: Final = 150e6
"""Bytes of all together that the end may have beyond the beginning: half of it is the page caches that fill."""
MOST_DESCRIPTORS: Final = 12
"""Open files that a process may have beyond those of the beginning, in calm and without clients: read connections."""

EXPECTED: Final[dict[str, str]] = {}
"""Tracebacks that may stand in the log: a pattern of the last line, and the reason."""


async def fates(stage: Stage, port: int) -> tuple[dict[str, Fate], dict[str, dict[str, Any]]]:
    """What must be found of each event, and what one relay finds, asked by ids; what expires meanwhile is open."""
    ids = sorted(stage.ledger.entries)
    before = stage.clock()
    found: dict[str, dict[str, Any]] = {}
    for at in range(0, len(ids), _CHUNK):
        found |= await _asked(stage, port, ids[at : at + _CHUNK])
    after = stage.clock()
    both = {event_id: (stage.ledger.fate(event_id, before), stage.ledger.fate(event_id, after)) for event_id in ids}
    return {event_id: first if first is last else Fate.OPEN for event_id, (first, last) in both.items()}, found


async def _asked(stage: Stage, port: int, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    for _ in range(_TRIES):
        try:
            async with talking(port, _ADDRESS) as talk:
                if (answer := await stored(talk, {"ids": ids}, stage.tally)) is not None:
                    return answer
        except Gone:
            pass
        await trio.sleep(0.5)
    stage.tally.fault("no answer in calm", f"{len(ids)} ids, {_TRIES} times")
    return {}


def compare(
    tally: Tally,
    way: str,
    wanted: Mapping[str, Fate],
    sent: Mapping[str, dict[str, Any]],
    found: Sequence[dict[str, Any]],
) -> None:
    """Note what is lost, what has come back, what is doubled, what was changed, and what nobody has sent.

    Args:
        tally: of faults and counts.
        way: in which it was found, for the words.
        wanted: what must be found of each event.
        sent: all events by id.
        found: what was.
    """
    times = Counter(event["id"] for event in found)
    tally.counts[f"{way}: found"] = len(times)
    tally.counts[f"{way}: must stand"] = sum(fate is Fate.STANDS for fate in wanted.values())
    for event_id, fate in wanted.items():
        if fate is Fate.STANDS and event_id not in times:
            tally.fault(f"{way}: lost", f"{event_id} of kind {sent[event_id]['kind']}")
        if fate is Fate.GONE and event_id in times:
            tally.fault(f"{way}: stands and should be gone", f"{event_id} of kind {sent[event_id]['kind']}")
    for event in found:
        if event["id"] not in sent:
            tally.fault(f"{way}: never sent", event["id"])
        elif event != sent[event["id"]]:
            tally.fault(f"{way}: changed", event["id"])
    for event_id, number in times.items():
        if number > 1:
            tally.fault(f"{way}: doubled", f"{event_id}, {number} times")


def but_expired(wanted: Mapping[str, Fate], ledger: Ledger) -> dict[str, Fate]:
    """The same, but that what has an expiration and should be gone may still be there."""
    return {
        event_id: Fate.OPEN if fate is Fate.GONE and expires(ledger, event_id) else fate
        for event_id, fate in wanted.items()
    }


def expires(ledger: Ledger, event_id: str) -> bool:
    """Return True if the event has an expiration."""
    return expiration_of(ledger.entries[event_id].event) is not None


async def exported(program: Program, command: Sequence[str], tally: Tally) -> list[dict[str, Any]]:
    """What `trio-relay export` gives, the relay being down."""
    done = await trio.run_process(
        [*command, "export"],
        env=program.environment(),
        cwd=program.folder,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    if done.returncode:
        tally.fault("not exported", f"code {done.returncode}: {done.stderr.decode(errors='replace')[-300:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def tracebacks(log: str) -> Iterator[str]:
    """The last lines of all tracebacks in a log: in JSON, or as Python prints them."""
    lines = iter(log.splitlines())
    for line in lines:
        if line.startswith("{"):
            try:
                told = json.loads(line)
            except ValueError:
                continue  # cut off by a kill
            if "exception" in told:
                yield f"{told.get('event')}: {str(told['exception']).strip().splitlines()[-1]}"
        elif line.startswith("Traceback (most recent call last)"):
            last = next((rest for rest in lines if rest and not rest.startswith((" ", "\t"))), "cut off")
            yield last


def read_log(path: Path, tally: Tally, expected: Mapping[str, str] = EXPECTED) -> None:
    """Note each traceback that is not expected, and how often each warning and error was said."""
    text = path.read_text(errors="replace") if path.exists() else ""
    for last in tracebacks(text):
        if any(re.search(pattern, last) for pattern in expected):
            tally.counts["tracebacks that were expected"] += 1
        else:
            tally.fault("traceback", last[:400])
    for line in text.splitlines():
        try:
            told = json.loads(line) if line.startswith("{") else {}
        except ValueError:
            continue
        if told.get("level") in ("warning", "error", "critical"):
            tally.counts[f"log: {told['level']}: {told.get('event')}"] += 1


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What the relay held: bytes, and open files, of all its processes."""

    rss_start: int
    rss_most: int
    rss_end: int
    descriptors_start: int
    descriptors_most: int
    descriptors_end: int


def bounds(samples: Iterable[Sample], start: Sample, end: Sample) -> Bounds:
    """What it held at the beginning, at most, and at the end, in calm."""
    every = [start, *samples, end]
    return Bounds(
        rss_start=start.rss,
        rss_most=max(sample.rss for sample in every),
        rss_end=end.rss,
        descriptors_start=start.descriptors,
        descriptors_most=max(sample.descriptors for sample in every),
        descriptors_end=end.descriptors,
    )


def hold_to(found: Bounds, processes: int, tally: Tally) -> None:
    """Note what was more than may be.

    Args:
        found: what it held.
        processes: how many it is.
        tally: of faults.
    """
    if found.rss_most > MOST_RSS * processes:
        tally.fault("memory", f"{found.rss_most / 1e6:.0f} MB in {processes} processes")
    if found.rss_end - found.rss_start > MOST_GROWTH * processes:
        tally.fault("memory kept", f"{found.rss_start / 1e6:.0f} MB at first, {found.rss_end / 1e6:.0f} MB at the end")
    if found.descriptors_end - found.descriptors_start > MOST_DESCRIPTORS * processes:
        tally.fault("descriptors", f"{found.descriptors_start} at first, {found.descriptors_end} at the end")
