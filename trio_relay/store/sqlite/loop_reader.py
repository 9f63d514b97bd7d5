"""Answers on the loop: what is found within a moment needs no thread, whose hop costs more than most searches.

A search that turns out not to be quick, because it looks at much or because the disk is slow, is broken off after two
milliseconds and given up. After some of a kind in a row, their like go to a thread straight away for a while.
Between commits all searches share one snapshot: to take one and drop it again costs half of a small search. A snapshot
that lasted would keep the log from being folded back, so each commit ends it first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import apsw

from trio_relay.nostr.filter import Filter
from trio_relay.store.base import Page
from trio_relay.store.sqlite import fetch

T = TypeVar("T")

MOST_SECONDS: Final = 0.002
_STEPS_BETWEEN_LOOKS: Final = 200
"""Of SQLite's machine, some 10 µs where nothing comes from the disk; a search by id takes 60."""
_MOST_VALUES: Final = 500
_MOST_FILTERS: Final = 4
"""More is not even planned here: to plan for 50,000 values takes 50 ms."""
_MOST_IDS: Final = 64
_STRIKES: Final = 3
"""So many of a kind in a row must be late: one alone may have lost its core to another process."""
_SECONDS_AVOIDED: Final = 1.0
COLD_SECONDS: Final = 0.01
"""A search that took so long has waited for the disk between two looks: all others avoid the loop for a while too."""
MOST_SHAPES: Final = 1_000
_KNOWN: Final = "known"


class LoopReader:
    """One connection, used on the loop alone.

    Args:
        connection: for reading.
        clock: seconds.
    """

    def __init__(self, connection: apsw.Connection, clock: Callable[[], float] = time.perf_counter) -> None:
        self._connection = connection
        self._clock = clock
        self._end = 0.0
        self._cold_until = -math.inf
        self._shares_snapshot = False
        self._late: dict[int, tuple[int, float]] = {}
        """By the hash of a shape, whose text may have a megabyte: how many in a row were late, and until when such are
        avoided."""
        connection.set_progress_handler(self._is_late, _STEPS_BETWEEN_LOOKS)

    def share_snapshot(self) -> None:
        """See what is stored now, and keep that for all searches until `drop_snapshot`: nothing is written meanwhile.

        What somebody else writes in spite of it, such as a probe, is seen after the next call.
        """
        self.drop_snapshot()
        self._shares_snapshot = True

    def drop_snapshot(self) -> None:
        """See anew with every search."""
        self._shares_snapshot = False
        if self._connection.in_transaction:
            # SQLite adds up a statement's steps over all its runs: now and then it looks at the time here too.
            self._end = math.inf
            self._connection.execute("COMMIT")

    def query(self, filters: Sequence[Filter], expired_by: int | None = None) -> Page | None:
        """The whole answer, or None if it takes too long, is too long, or cannot be had, as that of a search.

        Args:
            filters: each has a limit.
            lapsed: what expires up to this second is left out; None where nothing does.
        """
        if len(filters) > _MOST_FILTERS or sum(filter_.size for filter_ in filters) > _MOST_VALUES:
            return None
        if fetch.any_search(filters):
            return None
        select = fetch.whole_answer(filters, expired_by)
        if select is None:
            return []
        return self._try(select.sql, lambda: fetch.lines(self._connection, select))

    def known(self, ids: Sequence[str]) -> set[str] | None:
        """Those of the ids that are stored, or None if that takes too long or cannot be told."""
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
            if len(self._late) >= MOST_SHAPES:  # clients can think of any number of them
                self._late.clear()
            self._late[key] = strikes + 1, now + _SECONDS_AVOIDED if strikes + 1 >= _STRIKES else 0.0
        except apsw.Error:
            pass  # of no use here; the thread that tries next will tell
        else:
            if strikes:
                del self._late[key]
            return found
        finally:
            if (ended := self._clock()) - now > COLD_SECONDS:
                self._cold_until = ended + _SECONDS_AVOIDED
        return None

    def _is_late(self) -> bool:
        return self._clock() > self._end
