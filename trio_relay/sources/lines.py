"""Files of events as people have them: one JSON object a line, with or without a byte-order mark.

A line may also be an EVENT message of the wire, as a client that wrote down what it heard has it. Members that an event
does not have are passed over, such as `fried`, in which strfry keeps what it has made of the others: that is for others
to believe. What is wrong with a line is said in words about the line; the file is read to its end all the same, unless
it breaks off.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple

import msgspec

from trio_relay.nostr.event import Event, check_shape, decode
from trio_relay.nostr.json_fallback import fault, lenient
from trio_relay.sources.packed import BUFFER_BYTES, open_packed, said_as_broken

MOST_LINE_BYTES: Final = 2**28
"""The longest line that is read, as long as the longest message that any configuration lets in."""

_BOM: Final = b"\xef\xbb\xbf"


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


def read_lines(
    file: BinaryIO, progress: Callable[[int], None] = lambda _bytes: None, *, most: int = MOST_LINE_BYTES
) -> Iterator[Line]:
    """Read a file line by line, in the memory of one line.

    Args:
        file: plain, gzip or zstd, told by its first bytes; nothing is sought in it, so it may be a pipe.
        progress: called with the bytes that were read of the file itself, whenever some were.
        most: bytes of the longest line; of a longer one only its fault is given.

    Raises:
        BrokenFile: from a step, once everything before has been given.
    """
    number, form = 0, "plain"
    with said_as_broken(form, lambda: f"after line {number}"):
        stream, form = open_packed(file, progress)
    with said_as_broken(form, lambda: f"after line {number}"):
        while text := stream.readline(most + 1):
            number += 1
            if len(text) > most and not text.endswith(b"\n"):
                yield Line(number, _skip(stream, len(text)), None, f"the line is longer than {most} bytes")
            elif stripped := text.strip().removeprefix(_BOM).lstrip():
                read = event_in(stripped)
                yield Line(number, len(text), *((None, read) if isinstance(read, str) else (read,)))


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


def _skip(stream: io.BufferedIOBase | BinaryIO, size: int) -> int:
    """Pass over the rest of a line of which so many bytes were read; gives how many it had."""
    while rest := stream.readline(BUFFER_BYTES):
        size += len(rest)
        if rest.endswith(b"\n"):
            break
    return size
