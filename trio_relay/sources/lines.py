"""Files of events as people have them: one JSON object a line, plain or gzip, with or without a byte-order mark.

A line may also be an EVENT message of the wire, as a client that wrote down what it heard has it. What is wrong with a
line is said in words about the line; the file is read to its end all the same, unless it breaks off.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from gzip import GzipFile
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

import msgspec

from trio_relay.nostr.event import Event, check_shape, decode
from trio_relay.nostr.json_fallback import fault, lenient

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MOST_LINE_BYTES: Final = 2**28
"""The longest line that is read, as long as the longest message that any configuration lets in."""

_GZIP: Final = b"\x1f\x8b"
_BOM: Final = b"\xef\xbb\xbf"
_FOREIGN: Final = {
    b"\x28\xb5\x2f\xfd": "is compressed by zstd; decompress it first, as by zstdcat",
    b"\xfd7zX": "is compressed by xz; decompress it first, as by xzcat",
    b"BZh": "is compressed by bzip2; decompress it first, as by bzcat",
    b"PK\x03\x04": "is a ZIP archive; unpack it first",
    b"\xff\xfe": "is UTF-16; convert it to UTF-8 first, as by iconv",
    b"\xfe\xff": "is UTF-16; convert it to UTF-8 first, as by iconv",
}
"""By their first bytes, files that would only give a refusal for each of their lines."""
_LONGEST_START: Final = 4
_BUFFER_BYTES: Final = 2**18


class Line(NamedTuple):
    """A line that is not blank.

    Attributes:
        number: counted from 1, blank lines included.
        size: its bytes.
        event: what it holds, of the right shape; all else is still to be checked.
        fault: why there is none.
    """

    number: int
    size: int
    event: Event | None
    fault: str = ""


class BrokenFile(Exception):
    """A file that cannot be read to its end; the message says where it breaks off, and why."""


def read_lines(
    file: BinaryIO, progress: Callable[[int], None] = lambda _bytes: None, *, most: int = MOST_LINE_BYTES
) -> Iterator[Line]:
    """Read a file line by line, in the memory of one line.

    Args:
        file: plain or gzip, told by its first bytes; nothing is sought in it, so it may be a pipe.
        progress: called with the bytes that were read of the file itself, whenever some were.
        most: bytes of the longest line; of a longer one only its fault is given.

    Raises:
        BrokenFile: from a step, once everything before has been given.
    """
    source = _Source(file, progress)
    number = 0
    try:
        start = source.start()
        for foreign, what in _FOREIGN.items():
            if start.startswith(foreign):
                raise BrokenFile(f"the file {what}")
        buffered = io.BufferedReader(source, _BUFFER_BYTES)
        stream = GzipFile(fileobj=buffered) if start.startswith(_GZIP) else buffered
        while text := stream.readline(most + 1):
            number += 1
            if len(text) > most and not text.endswith(b"\n"):
                yield Line(number, _skip(stream, len(text)), None, f"the line is longer than {most} bytes")
            elif stripped := text.strip().removeprefix(_BOM).lstrip():
                read = event_in(stripped)
                yield Line(number, len(text), *((None, read) if isinstance(read, str) else (read,)))
    except EOFError as error:
        raise BrokenFile(f"after line {number}: the gzip data end too early, so a part is missing") from error
    except zlib.error as error:
        raise BrokenFile(f"after line {number}: the gzip data are damaged") from error
    except OSError as error:  # gzip's own have no number
        why = f"cannot read: {error.strerror}" if error.errno else "the gzip data are damaged"
        raise BrokenFile(f"after line {number}: {why}") from error


def event_in(text: bytes) -> Event | str:
    """Return the event that a line holds, of the right shape, or what is wrong with it.

    Args:
        text: not blank; an event, or `["EVENT", event]`, or `["EVENT", sub_id, event]`.
    """
    if text[:1] == b"[":
        try:
            event = _framed(_decode_items(text))
        except _UNREADABLE:
            return _NO_JSON
        if event is None:
            return "the line holds an array that is no EVENT message"
        text = event
    try:
        read = decode(text)
    except _UNREADABLE:
        return _fault(text)
    return check_shape(read) or read


_decode_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_NO_JSON: Final = "the line is no JSON that can be read"


def _framed(items: list[msgspec.Raw]) -> bytes | None:
    match [bytes(item) for item in items]:
        case [b'"EVENT"', event]:
            return event
        case [b'"EVENT"', sub_id, event] if sub_id.startswith(b'"'):
            return event
        case _:
            return None


def _fault(text: bytes) -> str:
    match lenient(text):
        case dict() as event:
            return fault(event)
        case None:
            return _NO_JSON
        case _:
            return "the line holds no event, which is a JSON object"


def _skip(stream: io.BufferedIOBase, size: int) -> int:
    """Pass over the rest of a line of which so many bytes were read; gives how many it had."""
    while rest := stream.readline(_BUFFER_BYTES):
        size += len(rest)
        if rest.endswith(b"\n"):
            break
    return size


class _Source(io.RawIOBase):
    """The bytes of a file, counted as they are read; its start can be looked at without a seek."""

    def __init__(self, file: BinaryIO, progress: Callable[[int], None]) -> None:
        # What is there is enough: a pipe's writer may be slow, and its lines should not wait for others. `readinto1`
        # would wait for more as long as there is room.
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)
        self._progress = progress
        self._held = b""

    def start(self) -> bytes:
        """Return the first bytes, which are read again afterwards; fewer if there are no more."""
        held = bytearray()
        while len(held) < _LONGEST_START and (found := self.read(_LONGEST_START - len(held))):
            held += found
        self._held = bytes(held)
        return self._held

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer)
        if self._held:
            held, self._held = self._held[: len(room)], self._held[len(room) :]
            room[: len(held)] = held
            return len(held)
        found = self._read(len(room))
        room[: len(found)] = found
        self._progress(len(found))
        return len(found)
