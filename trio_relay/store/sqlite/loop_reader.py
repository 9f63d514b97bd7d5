"""Answers queries on the event loop: a hop into a thread costs more than most queries.

A query that turns out to be slow, because it looks at many rows or because the disk is slow, is interrupted after two
milliseconds and given up. After some slow ones of a kind in a row, queries of this kind go to a thread at once for a
while. Between commits all queries share one snapshot: opening and closing one costs half of a small query. A snapshot
that lasted would prevent checkpoints, so each commit ends it first.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import apsw

from trio_relay.nostr.filter import Filter
from trio_relay.store.base import Page
from trio_relay.store.sqlite import fetch, planner
from trio_relay.store.sqlite.event_cache import EventCache

T = TypeVar("T")

MOST_SECONDS: float = 0.002  # not Final, nor are the next: tests set others, in what is compiled too
_STEPS_BETWEEN_LOOKS: Final = 200
"""Steps of SQLite's virtual machine, about 10 µs if nothing comes from the disk; a query by id takes 60 steps."""
_MOST_VALUES: Final = 500
_MOST_FILTERS: Final = 4
"""Larger queries are not even planned here: planning for 50,000 values takes 50 ms."""
_MOST_IDS: Final = 64
_STRIKES: Final = 3
"""Late queries of a kind in a row before it is avoided: a single one may have lost its core to another process."""
_SECONDS_AVOIDED: Final = 1.0
COLD_SECONDS: float = 0.01
"""A query this long that has read blocks has waited for the disk between two looks, so all queries avoid the loop for a
while. Where nothing was read, the loop has lost its core to another program, and a thread would fare no better."""
_COLD_ANYHOW: Final = 5
"""So many times as long, the same holds whatever was read: not every file system counts blocks."""
MOST_SHAPES: int = 1_000
_KNOWN: Final = "known"
_THREAD: Final = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
"""Where a system does not count by thread, what others of the process read counts, too."""


def blocks_read() -> int:
    """How many blocks of 512 bytes this thread has read from disks, its mapped files included."""
    return resource.getrusage(_THREAD).ru_inblock


class LoopReader:
    """Reads through a connection that is used on the loop alone.

    Args:
        connection: for reading.
        clock: seconds.
        cache: of events, which are looked up there before they are in the database.
        blocks: how many the loop's thread has read from disks so far.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        clock: Callable[[], float] = time.perf_counter,
        cache: EventCache | None = None,
        blocks: Callable[[], int] = blocks_read,
    ) -> None:
        self._connection = connection
        self._cache = cache
        self._clock = clock
        self._blocks = blocks
        self._blocks_before = blocks()
        self._end = 0.0
        self._cold_until = -math.inf
        self._shares_snapshot = False
        self._newest: int | None = None
        self._late: dict[int, tuple[int, float]] = {}
        """By the hash of a query's SQL, which may have a megabyte: how many in a row were late, and until when this is
        avoided."""
        connection.set_progress_handler(self._is_late, _STEPS_BETWEEN_LOOKS)

    def share_snapshot(self) -> None:
        """Share one snapshot between all queries until `drop_snapshot`; nothing is written in the meantime.

        Other writes, such as a probe's, are seen after the next call.
        """
        self.drop_snapshot()
        self._shares_snapshot = True

    def drop_snapshot(self) -> None:
        """Let every query see the newest state."""
        self._shares_snapshot = False
        self._newest = None
        if self._connection.in_transaction:
            # SQLite counts a statement's steps over all its runs, so the progress handler may be called here, too.
            self._end = math.inf
            self._connection.execute("COMMIT")

    def newest(self) -> int | None:
        """Return the last number of an event in the shared snapshot, in which a query was answered just now; None if
        the database cannot tell."""
        if self._newest is None:
            self._end = math.inf
            try:
                self._newest = fetch.newest(self._connection)
            except apsw.Error:
                return None
        return self._newest

    def query(self, filters: Sequence[Filter], expired_by: int | None = None) -> Page | None:
        """Return the whole answer; None if it takes too long, is too long, or needs a search for words.

        Args:
            filters: each has a limit.
            expired_by: events that expire up to this second are left out; None if no stored event does.
        """
        if len(filters) > _MOST_FILTERS or sum(filter_.size for filter_ in filters) > _MOST_VALUES:
            return None
        if fetch.any_search(filters):
            return None
        if (single := planner.plan_single(filters, expired_by)) is not None:
            return self._try(single.sql, lambda: fetch.lines(self._connection, single))
        if (narrow := planner.plan(filters, expired_by)) is None:
            return []
        return self._try(narrow.sql, lambda: fetch.whole_answer(self._connection, narrow, self._cache))

    def known(self, ids: Sequence[str]) -> set[str] | None:
        """Return those of the ids that are stored; None if that takes too long or fails."""
        if len(ids) > _MOST_IDS:
            return None
        return self._try(_KNOWN, lambda: fetch.known(self._connection, ids))

    def _try(self, shape: str, search: Callable[[], T]) -> T | None:
        now = self._clock()
        key = hash(shape)
        strikes, until = self._late.get(key, (0, 0.0))
        if until > now or self._cold_until > now:
            return None
        self._end = now + MOST_SECONDS
        try:
            if self._shares_snapshot and not self._connection.in_transaction:
                self._connection.execute("BEGIN")
            found = search()
        except (apsw.InterruptError, apsw.TooBigError):
            if len(self._late) >= MOST_SHAPES:  # clients can invent any number of kinds
                self._late.clear()
            self._late[key] = strikes + 1, now + _SECONDS_AVOIDED if strikes + 1 >= _STRIKES else 0.0
        except apsw.Error:
            pass  # the thread that tries next reports it
        else:
            if strikes:
                del self._late[key]
            return found
        finally:
            if (ended := self._clock()) - now > COLD_SECONDS and self._is_cold(ended - now):
                self._cold_until = ended + _SECONDS_AVOIDED
        return None

    def _is_cold(self, seconds: float) -> bool:
        """True if so long a query has waited for the disk; blocks of queries before it may count, too."""
        before, self._blocks_before = self._blocks_before, self._blocks()
        return self._blocks_before > before or seconds > _COLD_ANYHOW * COLD_SECONDS

    def _is_late(self) -> bool:
        return self._clock() > self._end
