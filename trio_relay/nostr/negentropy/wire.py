"""The wire format of negentropy, version 1: varints, bounds, ranges, fingerprints (NIP-77; hoytech/negentropy, docs).

A message is a version byte and ranges of the space of (created_at, id), each given by its end. A bound is the
beginning of a record as in `items`: 8 bytes of time, and as much of an id as is needed, without zeros at its end.
So bounds and records compare as bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Final, NamedTuple

from trio_relay.nostr.errors import invalid
from trio_relay.nostr.negentropy.items import ID_SIZE, MODULUS

VERSION: Final = 0x61
KNOWN_AS_VERSIONS: Final = range(0x60, 0x70)
"""The first bytes that stand for a version at all."""
SKIP: Final = 0
FINGERPRINT: Final = 1
ID_LIST: Final = 2
FINGERPRINT_SIZE: Final = 16
TIME_SIZE: Final = 8
INFINITY: Final = b"\xff" * TIME_SIZE
"""The bound above all records."""
_INFINITE_TIME: Final = 2**64 - 1


class Range(NamedTuple):
    """A range from the bound of the one before up to `bound`, and what the sender has there.

    The payload is empty for `SKIP`, 16 bytes for `FINGERPRINT`, the ids, 32 bytes each, for `ID_LIST`.
    """

    bound: bytes
    mode: int
    payload: bytes


def varint(number: int) -> bytes:
    """Encode a number from 0 in digits of 7 bits, the highest first; all but the last have their high bit set."""
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | number & 0x7F)
    return bytes(reversed(digits))


def fingerprint(ids_sum: int, number: int) -> bytes:
    """Compute the 16 bytes that stand for a set of ids.

    Args:
        ids_sum: of the ids as little-endian numbers; is taken modulo 2^256.
        number: of the ids.
    """
    return sha256((ids_sum % MODULUS).to_bytes(ID_SIZE, "little") + varint(number)).digest()[:FINGERPRINT_SIZE]


def bound_between(lower: bytes, upper: bytes) -> bytes:
    """Return the shortest bound that is above one record and not above the next, larger one."""
    if lower[:TIME_SIZE] != upper[:TIME_SIZE]:
        return upper[:TIME_SIZE]
    size = next(place for place in range(TIME_SIZE, len(upper)) if lower[place] != upper[place])
    return upper[: size + 1]


class WireWriter:
    """Writes a message; its first byte, the version, is there from the start."""

    __slots__ = ("_data", "_time")

    def __init__(self) -> None:
        self._data = bytearray([VERSION])
        self._time = 0

    def __len__(self) -> int:
        return len(self._data)

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def put(self, bound: bytes, mode: int, payload: bytes = b"") -> None:
        """Add a range as in `Range`; its bound must not be below the one before."""
        if bound == INFINITY:
            self._data += b"\0\0"
        else:
            time = int.from_bytes(bound[:TIME_SIZE], "big")
            self._data += varint(time - self._time + 1) + varint(len(bound) - TIME_SIZE) + bound[TIME_SIZE:]
            self._time = time
        self._data += varint(mode)
        if mode == ID_LIST:
            self._data += varint(len(payload) // ID_SIZE)
        self._data += payload

    def mark(self) -> tuple[int, int]:
        """Return where the message ends now, for `cut`."""
        return len(self._data), self._time

    def cut(self, mark: tuple[int, int]) -> None:
        """Remove everything that was added since the mark."""
        size, self._time = mark
        del self._data[size:]


def read_ranges(message: bytes) -> Iterator[Range]:
    """Yield the ranges of a message of our version, one after another.

    Raises:
        Rejected: at the first place that breaks the format; so does a bound below the one before.
    """
    reader = _WireReader(message)
    before = bytes(TIME_SIZE)
    while reader.has_more():
        bound = reader.bound()
        if bound < before:
            raise invalid("negentropy: a range ends before it begins")
        before = bound
        yield Range(bound, *reader.content())


class _WireReader:
    __slots__ = ("_data", "_place", "_time")

    def __init__(self, message: bytes) -> None:
        self._data = message
        self._place = 1  # behind the version
        self._time = 0

    def has_more(self) -> bool:
        return self._place < len(self._data)

    def bound(self) -> bytes:
        time = self._time_of(self._varint())
        size = self._varint()
        if size > ID_SIZE or (time == _INFINITE_TIME and size):
            raise invalid("negentropy: a bound has at most 32 bytes of an id, the infinite one none")
        self._time = time
        return time.to_bytes(TIME_SIZE, "big") + self._bytes(size).rstrip(b"\0")

    def _time_of(self, encoded: int) -> int:
        if encoded == 0:
            return _INFINITE_TIME
        time = self._time + encoded - 1
        if time >= _INFINITE_TIME:
            raise invalid("negentropy: a time has at most 64 bits")
        return time

    def content(self) -> tuple[int, bytes]:
        mode = self._varint()
        if mode == SKIP:
            return mode, b""
        if mode == FINGERPRINT:
            return mode, self._bytes(FINGERPRINT_SIZE)
        if mode == ID_LIST:
            return mode, self._bytes(self._varint() * ID_SIZE)
        raise invalid(f"negentropy: mode {mode} is unknown")

    def _varint(self) -> int:
        number = 0
        for place in range(self._place, len(self._data)):
            digit = self._data[place]
            number = number << 7 | digit & 0x7F
            if number == 0 and digit:
                raise invalid("negentropy: a number begins with a zero digit")
            if number > _INFINITE_TIME:
                raise invalid("negentropy: a number has at most 64 bits")
            if digit < 0x80:
                self._place = place + 1
                return number
        raise invalid("negentropy: the message ends within a number")

    def _bytes(self, size: int) -> bytes:
        end = self._place + size
        if end > len(self._data):
            raise invalid("negentropy: the message ends within a range")
        data = self._data[self._place : end]
        self._place = end
        return data
