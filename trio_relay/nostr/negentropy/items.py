"""Sorted sets of (created_at, id) that may hold a million items (NIP-77).

An item is a record of 40 bytes: created_at, 8 bytes big-endian, and the id, so that records sort as negentropy wants
them: by time, then by id. An `ItemSet` changes; `Items` is a snapshot of it, and shares the records.

Records stand in blocks, and the ids of each block are added up once, so that the sum of any range needs at most two
parts of blocks to be added up. Of a million items, measured: 40.4 bytes an item, 0.6 s to put all in by pages in order,
13 µs to add one among the others, 5 at the end, 12 to discard one, 1.5 ms for the first snapshot after a change, 20 µs
for the sum of a range.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from itertools import accumulate
from typing import Final

ID_SIZE: Final = 32
RECORD_SIZE: Final = 40
MOST_RECORDS: Final = 512
"""Most records of a block, a power of two. More make additions slower, fewer make snapshots slower."""
MODULUS: Final = 2**256
"""Sums of ids are taken modulo this; ids are little-endian numbers."""
_FEW: Final = 8
"""Up to so many records are put into their block one by one; for more the whole block is sorted anew."""
_RECORD_BITS: Final = 8 * RECORD_SIZE
_TIME_BITS: Final = 64

record: Final = struct.Struct(">Q32s").pack
"""Makes a record of (created_at, id of 32 bytes)."""


def _ones(bits: int) -> int:
    return (1 << bits) - 1


_WITHOUT_TIMES: Final = sum(
    _ones(_RECORD_BITS) - _ones(_TIME_BITS) << place * _RECORD_BITS for place in range(MOST_RECORDS)
)
_HALVES: Final = [
    (bits, _ones(bits)) for bits in (_RECORD_BITS << power for power in reversed(range(MOST_RECORDS.bit_length() - 1)))
]


def sum_of_ids(records: bytes) -> int:
    """Add up the ids of a block's records, or of some of them, modulo 2^256.

    All records are read as one large number, which is folded in halves. The place of the times gives room for carries.
    """
    total = int.from_bytes(records, "little") & _WITHOUT_TIMES
    for bits, low in _HALVES:
        total = (total >> bits) + (total & low)
    return (total >> _TIME_BITS) % MODULUS


def _split(records: bytes) -> list[bytes]:
    return [records[place : place + RECORD_SIZE] for place in range(0, len(records), RECORD_SIZE)]


def _find(block: bytes, bound: bytes) -> int:
    """Return the index of the first record of a block that is not below the bound; their number if none is."""
    low, high = 0, len(block) // RECORD_SIZE
    while low < high:
        middle = (low + high) // 2
        place = middle * RECORD_SIZE
        if block[place : place + RECORD_SIZE] < bound:
            low = middle + 1
        else:
            high = middle
    return low


class _Blocks:
    """Blocks that no longer change, with the bytes and the sum of ids that come before each."""

    __slots__ = ("blocks", "firsts", "starts", "sums")

    def __init__(self, blocks: list[bytes], firsts: list[bytes], sums: list[int]) -> None:
        self.blocks = blocks.copy()
        self.firsts = firsts.copy()
        self.starts = [0, *accumulate(map(len, blocks))]
        self.sums = [0, *accumulate(sums)]

    def find(self, bound: bytes) -> int:
        block = bisect_right(self.firsts, bound) - 1
        return self.starts[block] // RECORD_SIZE + _find(self.blocks[block], bound) if block >= 0 else 0

    def locate(self, index: int) -> tuple[int, int]:
        """Return the block and the position in it, in bytes; the end of all counts as a block of its own."""
        place = index * RECORD_SIZE
        block = bisect_right(self.starts, place) - 1
        return block, place - self.starts[block]

    def sum_before(self, index: int) -> int:
        number, place = self.locate(index)
        if place == 0:
            return self.sums[number]
        block = self.blocks[number]
        if place <= len(block) // 2:
            return self.sums[number] + sum_of_ids(block[:place])
        return self.sums[number + 1] - sum_of_ids(block[place:])


class Items:
    """A snapshot of an `ItemSet`, or of a window of time in it; it never changes. `len` is the number of items.

    An index counts from the first item. A bound is the beginning of a record, at least its 8 bytes of time; missing
    bytes count as zeros.
    """

    __slots__ = ("_all", "_start", "_stop")

    def __init__(self, blocks: _Blocks, start: int, stop: int) -> None:
        self._all = blocks
        self._start = start
        self._stop = stop

    def __len__(self) -> int:
        return self._stop - self._start

    def find(self, bound: bytes) -> int:
        """Return the index of the first item at or above a bound; the number of items if there is none."""
        return min(max(self._all.find(bound), self._start), self._stop) - self._start

    def record(self, index: int) -> bytes:
        """Return the 40 bytes of the item at an index, which must exist."""
        block, place = self._all.locate(self._start + index)
        return self._all.blocks[block][place : place + RECORD_SIZE]

    def ids(self, lower: int, upper: int) -> bytes:
        """Return the ids of the items from `lower` to before `upper`, 32 bytes each."""
        records = self._records(self._start + lower, self._start + upper)
        return b"".join([records[end - ID_SIZE : end] for end in range(RECORD_SIZE, len(records) + 1, RECORD_SIZE)])

    def _records(self, lower: int, upper: int) -> bytes:
        first, start = self._all.locate(lower)
        last, stop = self._all.locate(upper)
        blocks = self._all.blocks
        if first == last:
            return blocks[first][start:stop] if stop else b""
        parts = [blocks[first][start:], *blocks[first + 1 : last]]
        return b"".join([*parts, blocks[last][:stop]] if stop else parts)

    def sum_before(self, index: int) -> int:
        """Return the sum of the ids of items below the index; differences of such sums hold modulo 2^256."""
        return self._all.sum_before(self._start + index)


class ItemSet:
    """A set of items that changes. `len` is their number."""

    __slots__ = ("_blocks", "_firsts", "_frozen", "_number", "_sums")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._firsts: list[bytes] = []
        self._sums: list[int] = []
        self._number = 0
        self._frozen: _Blocks | None = None

    def __len__(self) -> int:
        return self._number

    def add(self, created_at: int, event_id: bytes) -> bool:
        """Add one item; False if it is there already.

        Args:
            created_at: seconds since 1970, 0 to 2^64 - 2.
            event_id: 32 bytes.
        """
        return self._add(record(created_at, event_id))

    def _add(self, new: bytes) -> bool:
        number = self._block_of(new)
        if not self._blocks:
            self._replace(0, 0, [new])
            return True
        block = self._blocks[number]
        place = _find(block, new) * RECORD_SIZE
        if block[place : place + RECORD_SIZE] == new:
            return False
        if len(block) >= MOST_RECORDS * RECORD_SIZE:
            middle = len(block) // RECORD_SIZE // 2 * RECORD_SIZE
            self._replace(number, number + 1, [block[:middle], block[middle:]])
            return self._add(new)
        self._change(number, block[:place] + new + block[place:], int.from_bytes(new[-ID_SIZE:], "little"))
        self._number += 1
        return True

    def discard(self, created_at: int, event_id: bytes) -> bool:
        """Remove one item; False if it is not there."""
        old = record(created_at, event_id)
        number = self._block_of(old)
        if not self._blocks:
            return False
        block = self._blocks[number]
        place = _find(block, old) * RECORD_SIZE
        if block[place : place + RECORD_SIZE] != old:
            return False
        self._change(number, block[:place] + block[place + RECORD_SIZE :], -int.from_bytes(event_id, "little"))
        self._number -= 1
        self._join(number)
        return True

    def extend(self, records: bytes) -> None:
        """Add many items, records of 40 bytes in any order; those that are there already are ignored.

        It is faster the closer in time the records are, and the more sorted.
        """
        page = list(dict.fromkeys(sorted(_split(records))))
        start = 0
        while start < len(page):
            number = self._block_of(page[start])
            next_first = self._firsts[number + 1 : number + 2]
            stop = bisect_left(page, next_first[0], start) if next_first else len(page)
            self._merge(number, page[start:stop])
            start = stop

    def snapshot(self, since: int | None = None, until: int | None = None) -> Items:
        """Take a snapshot, of `since` to `until` (seconds since 1970, both included) if these are given."""
        blocks = self._frozen
        if blocks is None:
            blocks = self._frozen = _Blocks(self._blocks, self._firsts, self._sums)
        start = 0 if since is None else blocks.find(since.to_bytes(8, "big"))
        stop = self._number if until is None else blocks.find((until + 1).to_bytes(8, "big"))
        return Items(blocks, start, max(start, stop))

    def _block_of(self, record: bytes) -> int:
        """Return the number of the block that a record belongs into; the first block if it is below all."""
        return max(0, bisect_right(self._firsts, record) - 1)

    def _merge(self, number: int, new: list[bytes]) -> None:
        """Add sorted records that all belong to one block."""
        if len(new) <= _FEW:
            for record in new:
                self._add(record)
            return
        old = _split(self._blocks[number]) if self._blocks else []
        merged = list(dict.fromkeys(sorted(old + new)))  # two sorted runs, which the sort finds and merges
        pieces = -(-len(merged) // MOST_RECORDS)
        size = -(-len(merged) // pieces)
        chunks = [b"".join(merged[start : start + size]) for start in range(0, len(merged), size)]
        self._replace(number, number + 1, chunks)

    def _replace(self, start: int, stop: int, blocks: list[bytes]) -> None:
        before = sum(map(len, self._blocks[start:stop]))
        self._number += (sum(map(len, blocks)) - before) // RECORD_SIZE
        self._blocks[start:stop] = blocks
        self._firsts[start:stop] = [block[:RECORD_SIZE] for block in blocks]
        self._sums[start:stop] = map(sum_of_ids, blocks)
        self._frozen = None

    def _change(self, number: int, block: bytes, more: int) -> None:
        self._blocks[number] = block
        self._firsts[number] = block[:RECORD_SIZE]
        self._sums[number] = (self._sums[number] + more) % MODULUS
        self._frozen = None

    def _join(self, number: int) -> None:
        """Join a block and the next one if few records are left in them; remove an empty block."""
        joined = b"".join(self._blocks[number : number + 2])
        if not self._blocks[number] or len(joined) <= MOST_RECORDS * RECORD_SIZE // 4:
            self._replace(number, number + 2, [joined] if joined else [])
