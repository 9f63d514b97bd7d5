"""V and F: one BIP-340 verification and one small fdatasync on this machine, now; results are told in them."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from perf.corpus import signed_events
from trio_relay.nostr.schnorr import open_backend

_VERIFICATIONS: Final = 1_000
_ROUNDS: Final = (5, 4)
"""Before the run and after it: nine in all."""
_SYNCS: Final = 100
MOST_DRIFT: Final = 0.1
"""A run during which V has moved by more than that is to be repeated."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at the machine; microseconds."""

    verifications: tuple[float, ...]
    syncs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The units of one run, microseconds: V is CPU, F is time.

    Attributes:
        verification: V.
        fdatasync: F.
        drift: how far the two halves of V lie apart, of 1.
        verifications: V at the start and at the end.
        fdatasyncs: F at the start and at the end.
    """

    verification: float
    fdatasync: float
    drift: float
    verifications: tuple[float, float] = (0, 0)
    fdatasyncs: tuple[float, float] = (0, 0)


def look(rounds: int, folder: Path | None = None) -> Reading:
    """Measure both.

    Args:
        rounds: of 1,000 distinct verifications in one native call each.
        folder: whose disk is measured; by default the one of temporary files, where the stores of a run lie.
    """
    verify = open_backend("batch").verify
    events = signed_events(max(_ROUNDS) * _VERIFICATIONS)
    verifications = []
    for number in range(rounds):
        batch = events[number * _VERIFICATIONS : (number + 1) * _VERIFICATIONS]
        start = time.thread_time()
        verdicts = verify(batch)
        verifications.append((time.thread_time() - start) / len(batch) * 1e6)
        assert all(verdicts)
    return Reading(tuple(verifications), tuple(_syncs(folder)))


def _syncs(folder: Path | None) -> list[float]:
    microseconds = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            file.write(os.urandom(4096))
            file.flush()
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            microseconds.append((time.perf_counter() - start) * 1e6)
    return microseconds


def before() -> Reading:
    """The first half of a run's yardstick."""
    return look(_ROUNDS[0])


def after(first: Reading) -> Yardstick:
    """The second half, and both together."""
    second = look(_ROUNDS[1])
    halves = median(first.verifications), median(second.verifications)
    return Yardstick(
        median(first.verifications + second.verifications),
        median(first.syncs + second.syncs),
        abs(halves[0] - halves[1]) / min(halves),
        halves,
        (median(first.syncs), median(second.syncs)),
    )
