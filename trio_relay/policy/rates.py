"""Token buckets, each one float, and a table of them that is bounded and may be shared by processes (pure, no I/O).

A bucket is the time at which it is full again (GCRA, the virtual scheduling algorithm of ITU-T I.371, annex A): taking
from it moves that time on, and it holds what is wanted while that time is not too far ahead. So no clock has to fill
it, one that was never touched is 0.0 and full, and of what two processes take at the same moment one may be lost, which
is all that can go wrong.

Interpreted, on a busy machine, in CPU: 0.35 µs to take from an account's limits where they are wide, 1.4 where each is
looked at, 1.1 to ask for a request, 0.15 to charge it; 6 to 8 for the account of a new connection.
"""

from __future__ import annotations

import mmap
import re
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

_UNITS: Final = {"s": 1.0, "second": 1.0, "minute": 60.0, "hour": 3_600.0}
_NUMBER: Final = r"[0-9][0-9_]*(?:\.[0-9]+)?"
_RATE: Final = re.compile(rf"(?P<number>{_NUMBER})/(?P<unit>s|second|minute|hour)(?: burst (?P<burst>{_NUMBER}))?")
_MOST: Final = 10**15
Words: TypeAlias = "memoryview[float] | list[float]"

_GRAIN: Final = 1e-6
"""Seconds that are no more than an error of rounding."""


class Rate(NamedTuple):
    """So much in a time, and so much at once.

    Attributes:
        number: what comes back in `seconds`.
        seconds: the unit of time, in seconds.
        burst: what may be taken at once after a long rest.
    """

    number: float
    seconds: float
    burst: float

    @property
    def each(self) -> float:
        """Seconds in which one comes back."""
        return self.seconds / self.number

    @property
    def tolerance(self) -> float:
        """Seconds in which an empty bucket fills."""
        return self.burst * self.each

    @property
    def unit(self) -> str:
        """The unit of time as it is said."""
        return {1.0: "a second", 60.0: "a minute"}.get(self.seconds, "an hour")


def parse_rate(text: str) -> Rate | None:
    """Read a rate such as `3000/minute burst 20000`; without a burst, as much as comes in the unit may come at once.

    Args:
        text: digits may be grouped by `_`, decimals are allowed; units are s, second, minute and hour; empty: no limit.

    Raises:
        ValueError: it is none; the message says what one looks like.
    """
    if not text:
        return None
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(
            f'{text!r} is no rate; write "3000/minute burst 20000", with s, second, minute or hour, or "" for no limit'
        )
    number = float(match["number"])
    burst = max(number, 1.0) if match["burst"] is None else float(match["burst"])
    if not (0 < number <= _MOST and 1 <= burst <= _MOST):
        raise ValueError(f"{text!r}: the rate must be above 0, the burst 1 or more, and both {_MOST} at most")
    return Rate(number, _UNITS[match["unit"]], burst)


def wait(full_at: float, now: float, seconds: float, tolerance: float) -> float:
    """Seconds until a bucket holds so much; 0.0: it does now.

    Args:
        full_at: when it is full again.
        now: the time.
        seconds: what is wanted, as the time in which that comes back.
        tolerance: the time in which it fills when it is empty.
    """
    lacking = (full_at - now if full_at > now else 0.0) + seconds - tolerance
    return lacking if lacking > _GRAIN else 0.0


def most(full_at: float, now: float, each: float, tolerance: float, wanted: int) -> int:
    """How many of so many a bucket holds now, each of which comes back in so many seconds."""
    free = tolerance - (full_at - now if full_at > now else 0.0) + _GRAIN
    return wanted if wanted * each <= free else max(0, int(free / each))


class Word:
    """What stands in a row of the table, word by word; plain numbers, which are quicker than an enumeration's."""

    MARK: Final = 0
    MESSAGES: Final = 1
    BYTES: Final = 2
    EVENTS: Final = 3
    WORK: Final = 4
    CONNECTIONS: Final = 5
    AUTHS: Final = 6
    CALLS: Final = 7
    FAULTS: Final = 8
    BARRED: Final = 9
    """Until when."""
    FORGIVEN: Final = 10
    """When its faults are forgotten."""
    BARS: Final = 11
    """How often it was barred."""


WIDTH: Final = 12
_ROWS_A_SET: Final = 16
_SETS: Final = 8_192
_HEAD: Final = 8
WORDS: Final = _HEAD + _SETS * _ROWS_A_SET * WIDTH
"""Of the table: 131,072 rows of 96 bytes, 12.6 MB, of which only those pages are memory that are used."""


class BucketTable:
    """The buckets of many holders, each of whom has a row; bounded, and its memory is there from the beginning.

    A row stands in one of 16 places, which a keyed hash of its holder chooses. When all of them are taken, the row goes
    that is full again first, so that who loses its row loses least.

    Args:
        words: all zero at first; a process may share them with others. None: memory of its own, `WORDS` of them.
        key: of the hash, the same for all who share the words; secret, so that nobody can choose who loses a row.
    """

    def __init__(self, words: Words | None = None, key: bytes = b"") -> None:
        self.words = memoryview(mmap.mmap(-1, 8 * WORDS)).cast("d") if words is None else words
        self._key = key
        self._sets = (len(self.words) - _HEAD) // (_ROWS_A_SET * WIDTH)

    @property
    def barred_until(self) -> float:
        """Until when anybody at all is barred."""
        return self.words[0]

    @property
    def bars(self) -> float:
        """How often anybody was barred; who has seen this number knows of all of them."""
        return self.words[1]

    def note_bar(self, until: float) -> None:
        """Somebody is barred until then."""
        self.words[0] = max(self.words[0], until)
        self.words[1] += 1

    def row(self, holder: str) -> tuple[int, float]:
        """Where the row of a holder begins, and its mark; it takes one if it has none."""
        first, mark = self._place(holder)
        words = self.words
        rows = range(first, first + _ROWS_A_SET * WIDTH, WIDTH)
        at = self._found(rows, mark)
        if at is None:
            at = first + self._fullest(first) * WIDTH
        if words[at] != mark:
            words[at] = mark
            for column in range(at + 1, at + WIDTH):
                words[column] = 0.0
        return at, mark

    def find(self, holder: str) -> int | None:
        """Where the row of a holder begins; None if it has none: all of its buckets are full."""
        first, mark = self._place(holder)
        at = self._found(range(first, first + _ROWS_A_SET * WIDTH, WIDTH), mark)
        return at if at is not None and self.words[at] == mark else None

    def barred(self, now: float) -> int:
        """How many rows are barred; looks at all of them, in some milliseconds, while anybody is."""
        if self.barred_until <= now:
            return 0
        return sum(until > now for until in self.words[_HEAD + Word.BARRED :: WIDTH])

    def _place(self, holder: str) -> tuple[int, float]:
        """Where the set of a holder begins, and the holder's mark, never 0: a whole number that a float holds."""
        digest = blake2b(holder.encode(errors="surrogatepass"), digest_size=16, key=self._key).digest()
        mark = float((int.from_bytes(digest[:8], "little") >> 12) or 1)
        return _HEAD + int.from_bytes(digest[8:], "little") % self._sets * _ROWS_A_SET * WIDTH, mark

    def _fullest(self, first: int) -> int:
        """Which row of a set is full again first."""
        told = list(self.words[first : first + _ROWS_A_SET * WIDTH])
        return min(range(_ROWS_A_SET), key=lambda row: max(told[row * WIDTH + 1 : (row + 1) * WIDTH]))

    def _found(self, rows: range, mark: float) -> int | None:
        """The row with this mark, or else the first that nobody has; rows are taken in order and never given back."""
        words = self.words
        for at in rows:
            found = words[at]
            if found == mark or not found:
                return at
        return None


class TokenBuckets:
    """The buckets of one holder: a row of the table, which may be taken from it, or of its own.

    Args:
        table: has the row; None: this holder is as short-lived as its row, a connection.
        holder: whose row.
    """

    __slots__ = ("_at", "_holder", "_mark", "_table", "_words")

    def __init__(self, table: BucketTable | None = None, holder: str = "") -> None:
        self._table = table
        self._holder = holder
        self._at, self._mark = 0, 0.0
        self._words: Words = [0.0] * WIDTH
        if table is not None:
            self._words = table.words
            self._at, self._mark = table.row(holder)

    def full_at(self, column: int) -> float:
        """When this bucket is full again."""
        at = self._at
        if self._words[at] != self._mark:
            at = self._again()
        return self._words[at + column]

    def take(self, column: int, seconds: float, now: float) -> None:
        """Take so much from a bucket, as the time in which that comes back, whether it holds that or not."""
        words, at = self._words, self._at
        if words[at] != self._mark:
            at = self._again()
        full_at = words[at + column]
        words[at + column] = (full_at if full_at > now else now) + seconds

    def put(self, column: int, value: float) -> None:
        """Set a word of the row."""
        self.full_at(column)
        self._words[self._at + column] = value

    def _again(self) -> int:
        """Take a row anew: it was taken from this holder."""
        assert self._table is not None, "its own row is taken from nobody"
        self._at, self._mark = self._table.row(self._holder)
        return self._at
