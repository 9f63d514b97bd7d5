"""Numbers that the processes of one relay share, in memory that all of them map (decision 32).

The keeper makes it and hands its descriptor down; each worker has a row in it. A worker writes its own row and reads
those of all others, so there is no lock: every number is one aligned word of eight bytes, written and read whole, and
has one writer, but for the buckets, where two writers at once cost no more than what one of them took. The keeper
writes the words in front of the rows, and clears the row of a worker that has died.

    head    sizes, key; commits, earliest expiry, whether words can be searched
    buckets what addresses and keys have used of their rates, floats that any of them writes (decision 34)
    row     totals of all columns, then each column's slots; one row a worker
    slot    32 bits of an origin's hash, 32 bits of how many places it has; 0: free

An origin's slot is one of `WINDOW` in a row, from where its keyed hash says. The key is drawn at each start: nobody can
look for addresses that fall together.
"""

from __future__ import annotations

import math
import mmap
import os
import secrets
import tempfile
from hashlib import blake2b
from typing import Final, Self

SLOTS_A_PLACE: Final = 8
"""So that one slot in eight is taken at most, when one worker has all guests and no two are of one origin."""
WINDOW: Final = 16
"""Slots that an origin may have. At one taken in eight, all of 8 were taken for 6 of 3,000,000 origins that came while
others went, and each slot more made that four times rarer. Of such an origin other workers know nothing."""
MOST_CONNECTIONS: Final = 2**20
"""Where more are allowed, the table is as large as for so many: 64 MiB a worker, and only used pages are there."""
MOST_VISITORS: Final = 1_000
MOST_SYNCS: Final = 256

_WORD: Final = 8
_LINE: Final = 8
"""Words of a cache line: what the keeper writes shares none with what a worker writes."""
_FORMAT: Final = 0x7472_656C_6179_0001
_FORMAT_AT, _WORKERS_AT, _CONNECTIONS_AT, _KEY_AT = 0, 1, 2, 4
_COMMITS_AT, _EARLIEST_AT, _WORDED_AT = 8, 9, 10
_HEAD: Final = 16
_NEVER: Final = 2**64 - 1
_COUNT: Final = 2**32 - 1
_MARK: Final = _COUNT << 32
_COLUMNS: Final = 4


class Column:
    """What one table of places holds on the other workers, who are told what it holds here. For `Shares`.

    Args:
        words: the shared memory.
        key: of the hash of origins, the same for all workers.
        slots: places times `SLOTS_A_PLACE`.
        own: where this worker's total and its first slot are; None: it has no row, and counts nothing of its own.
        others: the same of all other workers.
    """

    __slots__ = ("_firsts", "_found", "_key", "_own", "_slot_of", "_slots", "_totals", "_words")

    def __init__(
        self,
        words: memoryview[int],
        key: bytes,
        slots: int,
        own: tuple[int, int] | None,
        others: list[tuple[int, int]],
    ) -> None:
        self._words = words
        self._key = key
        self._slots = slots
        self._own = own
        self._totals = [total for total, _ in others]
        self._firsts = [first for _, first in others]
        self._slot_of: dict[str, int] = {}
        self._found: tuple[str | None, int, int] = (None, 0, 0)
        """What was looked up last: who is asked about is told of next."""

    @property
    def held(self) -> int:
        """Places that are taken on all other workers."""
        words = self._words
        return sum([words[at] for at in self._totals])

    @property
    def lead(self) -> float:
        """How many more are taken here than on the average of the other workers; 0 without others."""
        if self._own is None or not self._totals:
            return 0
        return self._words[self._own[0]] - self.held / len(self._totals)

    def held_by(self, holder: str) -> int:
        """How many of them this holder has; another's are taken for its own once in 2**32 slots that are looked at."""
        home, mark = self._find(holder)
        held = 0
        for first in self._firsts:
            window = self._words[first + home : first + home + WINDOW].tolist()
            for word in filter(None, window):  # nearly all of them are free
                if word & _MARK == mark:
                    held += word & _COUNT
                    break
        return held

    def note(self, held: int, holder: str | None, of_one: int) -> None:
        """Tell the others what is held here now.

        Args:
            held: places in all.
            holder: whose number has changed; None: of nobody that has a share.
            of_one: its places.
        """
        assert self._own is not None, "the keeper has no places"
        total, first = self._own
        self._words[total] = held
        if holder is None:
            return
        slot = self._slot_of.get(holder)
        if slot is not None:
            mark = self._words[slot] & _MARK
        elif of_one:
            home, mark = self._find(holder)
            window = self._words[first + home : first + home + WINDOW].tolist()
            if 0 not in window:
                return
            slot = self._slot_of[holder] = first + home + window.index(0)
        else:
            return  # it never had a slot
        if of_one:
            self._words[slot] = mark | min(of_one, _COUNT)
        else:
            self._words[slot] = 0
            del self._slot_of[holder]

    def _find(self, holder: str) -> tuple[int, int]:
        """Where the window of a holder begins, and what marks its slot."""
        last, home, mark = self._found
        if holder == last:
            return home, mark
        digest = blake2b(holder.encode(errors="surrogatepass"), digest_size=12, key=self._key).digest()
        mark = (int.from_bytes(digest[:4], "little") or 1) << 32  # a slot that is taken is never 0
        home = int.from_bytes(digest[4:], "little") % self._slots
        self._found = holder, home, mark
        return home, mark


class Scoreboard:
    """The shared memory, as one process sees it: `create` in the keeper, `open` in each worker; `close` it at last.

    Attributes:
        fd: its descriptor, for the workers to inherit.
        connections: WebSocket connections, by origin.
        visitors: connections that talk HTTP, by origin.
        syncs: open syncs (NIP-77), by origin.
        sync_events: events that syncs hold, by origin.
        buckets: floats for a table of buckets, see `policy.rates`.
        key: drawn at each start, for hashes of what must not be chosen to fall together.
    """

    def __init__(self, fd: int, worker: int | None) -> None:
        self.fd = fd
        self._memory = mmap.mmap(fd, 0)
        self._words = memoryview(self._memory).cast("Q")
        self._rows = self._words[_WORKERS_AT]
        self._sizes = _sizes(self._words[_CONNECTIONS_AT])
        self._row_words = _row_words(self._sizes)
        key = self.key = self._words[_KEY_AT : _KEY_AT + 2].tobytes()
        rows = [_HEAD + number * self._row_words for number in range(self._rows)]
        floats = memoryview(self._memory).cast("d")
        self.buckets = floats[_HEAD + self._rows * self._row_words :]
        floats.release()
        columns = []
        first = _LINE
        for number, slots in enumerate(self._sizes):
            places = [(row + number, row + first) for row in rows]
            own = None if worker is None else places.pop(worker)
            columns.append(Column(self._words, key, slots, own, places))
            first += slots + WINDOW
        self.connections, self.visitors, self.syncs, self.sync_events = columns

    @classmethod
    def create(cls, workers: int, connections: int, buckets: int = 0) -> Self:
        """Make it, with an empty row for each worker. For the keeper.

        Args:
            workers: how many.
            connections: that there may be at most, `net.max_connections`.
            buckets: floats for buckets.

        Raises:
            OSError: there is no memory for it.
        """
        fd = _memory_file()
        try:
            os.ftruncate(fd, _WORD * (_HEAD + workers * _row_words(_sizes(connections)) + buckets))
            with mmap.mmap(fd, 0) as memory, memoryview(memory) as octets, octets.cast("Q") as words:
                words[_FORMAT_AT], words[_WORKERS_AT], words[_CONNECTIONS_AT] = _FORMAT, workers, connections
                words[_KEY_AT], words[_KEY_AT + 1] = secrets.randbits(64), secrets.randbits(64)
                words[_EARLIEST_AT] = _NEVER
            return cls(fd, None)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def open(cls, fd: int, worker: int, workers: int) -> Self:
        """Map what a keeper has made. For a worker.

        Args:
            fd: inherited; it is this object's from now on.
            worker: whose row this process writes, from 0 on.
            workers: how many rows there are.

        Raises:
            ValueError: this is no scoreboard, or another number of workers shares it.
            OSError: it cannot be mapped.
        """
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as memory, memoryview(memory) as octets:
            head = octets[: _HEAD * _WORD].tobytes()
        with memoryview(head).cast("Q") as words:
            if len(words) < _HEAD or words[_FORMAT_AT] != _FORMAT:
                raise ValueError("the descriptor is of no scoreboard")
            if words[_WORKERS_AT] != workers or not 0 <= worker < workers:
                raise ValueError(f"worker {worker} of {workers} in a scoreboard of {words[_WORKERS_AT]}")
        return cls(fd, worker)

    def is_ahead(self) -> bool:
        """Whether this worker has more clients than the others have on average, those counted that talk HTTP."""
        return self.connections.lead + self.visitors.lead > 0

    def commits(self) -> int:
        """How many commits there have been; from any thread."""
        return self._words[_COMMITS_AT]

    def commit(self) -> None:
        """Count one more commit. For the keeper, from one thread."""
        self._words[_COMMITS_AT] += 1

    @property
    def earliest_expiry(self) -> float:
        """No stored event expires before this second since 1970; infinity: none does. The keeper sets it."""
        seconds = self._words[_EARLIEST_AT]
        return math.inf if seconds == _NEVER else seconds

    @earliest_expiry.setter
    def earliest_expiry(self, seconds: float) -> None:
        self._words[_EARLIEST_AT] = max(0, int(seconds)) if seconds < _NEVER else _NEVER

    @property
    def is_worded(self) -> bool:
        """True once the words of all stored events are in the index. The keeper sets it."""
        return self._words[_WORDED_AT] == 1

    @is_worded.setter
    def is_worded(self, yes: bool) -> None:
        self._words[_WORDED_AT] = int(yes)

    def clear(self, worker: int) -> None:
        """Take everything back that a worker held. For the keeper, when that worker has died and its successor has not
        begun.
        """
        row = _HEAD + worker * self._row_words
        self._words[row : row + self._row_words] = memoryview(bytes(self._row_words * _WORD)).cast("Q")

    def close(self) -> None:
        """Unmap it; no column may be used from then on. The memory goes with the last process that has it."""
        self.buckets.release()
        self._words.release()
        self._memory.close()
        os.close(self.fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _sizes(connections: int) -> list[int]:
    """Slots of each column."""
    places = [min(connections, MOST_CONNECTIONS), MOST_VISITORS, MOST_SYNCS, MOST_SYNCS]
    assert len(places) == _COLUMNS <= _LINE
    return [SLOTS_A_PLACE * most for most in places]


def _row_words(sizes: list[int]) -> int:
    words = _LINE + sum(size + WINDOW for size in sizes)
    return -(-words // _LINE) * _LINE


def _memory_file() -> int:
    """The descriptor of memory that has no name; a file without one where the system has no such memory."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("trio-relay")
    with tempfile.TemporaryFile() as file:  # its owner's alone, and gone from the folder at once
        return os.dup(file.fileno())
