"""The scoreboard of several workers, in one process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from trio_relay.policy.rates import WORDS
from trio_relay.scoreboard import Scoreboard


@contextmanager
def boards(workers: int, connections: int = 10) -> Iterator[tuple[Scoreboard, list[Scoreboard]]]:
    """The keeper's side, and one for each worker."""
    with Scoreboard.create(workers, connections, WORDS) as keeper:
        opened = [joined(keeper, worker, workers) for worker in range(workers)]
        try:
            yield keeper, opened
        finally:
            for board in opened:
                board.close()


def joined(keeper: Scoreboard, worker: int, workers: int) -> Scoreboard:
    """The side of one worker."""
    return Scoreboard.open(os.dup(keeper.fd), worker, workers)


def replaced(keeper: Scoreboard, opened: list[Scoreboard], worker: int) -> None:
    """Have a worker die, and another one in its place."""
    opened[worker].close()
    keeper.clear(worker)
    opened[worker] = joined(keeper, worker, len(opened))
