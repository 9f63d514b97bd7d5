"""What stands on the stream: notes of one member in a row, with the number of the first; and how much of it to keep.

Every entry has the number of its first note, one without notes too: it is that of the next. So whoever knows which
number to expect tells a repeat, which is passed over, from a number that was left out, behind which is a gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

FORMAT: Final = 1
"""Counted up by whoever changes `Entry`; members of several formats tell one another of gaps alone."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """Notes of one member; an entry without notes says no more than that it is there."""

    sender: str
    first: Annotated[int, Meta(ge=0, lt=2**62)]
    """The number of the first note; each member counts its own from 0."""
    notes: list[bytes] = []
    leaves: bool = False
    """It will say nothing after this."""

    @property
    def following(self) -> int:
        """The number of the note that comes after these."""
        return self.first + len(self.notes)


class Unreadable(ValueError):
    """An entry that is none of ours, or of another format."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, msgspec.Raw])
_entries = msgspec.msgpack.Decoder(Entry)


def encode(entry: Entry) -> bytes:
    """Return an entry as msgpack, with its format in front."""
    return _encoder.encode((FORMAT, entry))


def decode(data: bytes) -> Entry:
    """Return the entry that `encode` was given.

    Raises:
        Unreadable: if it was not `encode` of this format that wrote it.
    """
    try:
        written, rest = _decoder.decode(data)
        if written == FORMAT:
            return _entries.decode(rest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(str(error)) from None
    raise Unreadable(f"of the format {written}")


class Reach:
    """How many entries the stream may have, so that they are not more than so many, nor more bytes.

    Redis counts entries only. Since each member reads all of them, each knows how long those were.

    Args:
        entries: that there may be.
        size: bytes that they may have.
    """

    def __init__(self, entries: int, size: int) -> None:
        self._entries, self._size = entries, size
        self._lengths: deque[int] = deque(maxlen=entries)
        self._bytes = 0
        self._is_full = False

    @property
    def keep(self) -> int:
        """The newest entries that may stay, at least one."""
        return max(1, len(self._lengths)) if self._is_full else self._entries

    def add(self, lengths: Sequence[int]) -> None:
        """Count entries that were read, by their bytes."""
        for length in lengths:
            if len(self._lengths) == self._entries:
                self._bytes -= self._lengths[0]
            self._lengths.append(length)
            self._bytes += length
        while self._bytes > self._size and len(self._lengths) > 1:
            self._bytes -= self._lengths.popleft()
            self._is_full = True
        if len(self._lengths) == self._entries:
            self._is_full = False
