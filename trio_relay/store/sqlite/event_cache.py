"""The JSON of stored events in memory, by the numbers of their rows: SQLite finds the rows, and need not look them up.

A row's JSON never changes, and no number is given twice in the life of a file (`schema.NUMBERING_TABLE`), so nothing
here has to be taken back: what was deleted, replaced or has expired is in no answer of SQLite, so it is not asked for,
and its bytes leave with all others that nobody asks for. Only what was committed may be put in, as a batch that was
rolled back gives its numbers to the next one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from sys import getsizeof
from typing import Final

from trio_relay.store.base import CacheStatistics, Page

ENTRY_BYTES: Final = 160
"""Of the tables for each event, beside its number and its JSON: two tables at their emptiest, and the list of those
that leave."""


class EventCache:
    """Keeps up to so many bytes of events, and lets those go first that nobody has asked for since they were due to go.

    What comes in is young. When the room is used up, all young ones become old, and leave one by one, the oldest first,
    as room is needed; an old one that is asked for is young again. So a hit among the young, which most are, changes
    nothing and costs one look-up.

    The loop and readers' threads use it at the same time. Reading relies on each operation of a dictionary being atomic
    (CPython with a GIL); what it reads is true at any time, or not there. Who wants to change the tables takes a lock
    and never waits for it: while another thread has it, the change is left out, which costs a look-up later.

    Args:
        most_bytes: of memory, for numbers, JSON and tables; 0: it keeps nothing.

    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._hits = 0
        self._misses = 0
        self._young: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}
        self._leaving: Iterator[str] = iter(())
        self._changing = threading.Lock()

    def statistics(self) -> CacheStatistics:
        """Return what it keeps and how often that helped; threads that read at the same moment may count as one."""
        return CacheStatistics(len(self._young) + len(self._old), self._bytes, self._hits, self._misses)

    def all_of(self, numbers: list[str]) -> Page | None:
        """Return the JSON of these rows, in their order, if all of them are young; else None."""
        try:
            found = list(map(self._young.__getitem__, numbers))
        except KeyError:
            return None
        self._hits += len(found)
        return found

    def some_of(self, numbers: list[str]) -> dict[str, bytes]:
        """Return the JSON of those of these rows that are here, by their numbers; they are young from then on."""
        young, old = self._young, self._old
        found: dict[str, bytes] = {}
        aged: list[str] = []
        for number in numbers:
            if (json := young.get(number)) is not None:
                found[number] = json
            elif (json := old.get(number)) is not None:
                found[number] = json
                aged.append(number)
        self._hits += len(found)
        self._misses += len(numbers) - len(found)
        if aged and self._changing.acquire(blocking=False):
            try:
                self._rejuvenate(aged)
            finally:
                self._changing.release()
        return found

    def put(self, committed: Iterable[tuple[str, bytes]]) -> None:
        """Put in (number, JSON) of rows that were read, or written and committed."""
        if not self._changing.acquire(blocking=False):
            return
        try:
            for number, json in committed:
                if number not in self._young and number not in self._old:
                    self._young[number] = json
                    self._bytes += _cost(number, json)
            self._make_room()
        finally:
            self._changing.release()

    def _rejuvenate(self, numbers: list[str]) -> None:
        for number in numbers:
            if (json := self._old.pop(number, None)) is not None:
                self._young[number] = json

    def _make_room(self) -> None:
        while self._bytes > self._most_bytes:
            if (number := next(self._leaving, None)) is None:
                # A number that is in neither for a moment is only a miss for who reads meanwhile.
                self._old, self._young = self._young, {}
                self._leaving = iter(list(self._old))
            elif (json := self._old.pop(number, None)) is not None:
                self._bytes -= _cost(number, json)


def _cost(number: str, json: bytes) -> int:
    return getsizeof(number) + getsizeof(json) + ENTRY_BYTES
