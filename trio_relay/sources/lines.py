"""Files of events as people have them: one JSON object a line, with or without a byte-order mark.

A line may also be an EVENT message of the wire, as a client that wrote down what it heard has it. Members that an event
does not have are passed over, such as `fried`, in which strfry keeps what it has made of the others: that is for others
to believe. What is wrong with a line is said in words about the line; the file is read to its end all the same, unless
it breaks off. What a line holds is counted before any of it is decoded: in a compressed file of some hundred kilobytes
there is room for a line that would become gigabytes of objects.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from trio_relay.nostr.event import Event, check_shape, decode
from trio_relay.nostr.json_fallback import fault, lenient
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.message_bounds import Bounds, MessageBounds
from trio_relay.sources.packed import BUFFER_BYTES, open_packed, said_as_broken

_LEAST_BYTES: Final = 2**24
_MOST_BYTES: Final = 2**28
"""As long as the longest message that any configuration lets in."""
_TIMES: Final = 8
"""Longer than its message a line may be: strfry adds an event once more in hex, and others escape each character."""
_BYTES_OF_A_TAG: Final = 6

_BOM: Final = b"\xef\xbb\xbf"


class LineBounds(NamedTuple):
    """What a line may be; made by `of`.

    Attributes:
        most_bytes: without its end.
        held: what it may hold.
    """

    most_bytes: int
    held: Bounds

    @classmethod
    def of(cls, limits: Limits, *, is_backup: bool = False) -> LineBounds:
        """Return bounds that no line meets of an event that these limits allow.

        Args:
            limits: of clients' messages.
            is_backup: True: as many tags are allowed as there is room for in a message, since limits may have changed
                after the relay took an event.
        """
        if is_backup:
            room = max(limits.max_message_length, Limits().max_message_length) // _BYTES_OF_A_TAG
            limits = replace(limits, max_event_tags=max(limits.max_event_tags, room))
        most = min(max(_LEAST_BYTES, _TIMES * limits.max_message_length), _MOST_BYTES)
        return cls(most, MessageBounds.of(limits).events)

    @property
    def too_long(self) -> str:
        """What is said of a line that is longer."""
        return f"the line is longer than {self.most_bytes} bytes"


DEFAULT_BOUNDS: Final = LineBounds.of(Limits())


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
    file: BinaryIO, progress: Callable[[int], None] = lambda _bytes: None, *, bounds: LineBounds = DEFAULT_BOUNDS
) -> Iterator[Line]:
    """Read a file line by line, in the memory of one line.

    Args:
        file: plain, gzip or zstd, told by its first bytes; nothing is sought in it, so it may be a pipe.
        progress: called with the bytes that were read of the file itself, whenever some were.
        bounds: of a line that is longer or holds more, only the fault is given.

    Raises:
        BrokenFile: from a step, once everything before has been given.
    """
    number, form = 0, "plain"
    with said_as_broken(form, lambda: f"after line {number}"):
        stream, form = open_packed(file, progress)
    with said_as_broken(form, lambda: f"after line {number}"):
        for number, (text, size) in enumerate(bounded_lines(stream, bounds.most_bytes), 1):
            if text is None:
                yield Line(number, size, None, bounds.too_long)
            elif stripped := text.strip().removeprefix(_BOM).lstrip():
                yield line_of(number, stripped, bounds, size)


def bounded_lines(stream: io.BufferedIOBase | BinaryIO, most: int) -> Iterator[tuple[bytes | None, int]]:
    """Give each line with its end, and its bytes; None for one that is longer, which is read over in portions.

    Args:
        stream: of lines.
        most: bytes of the longest, without its end.
    """
    while text := stream.readline(most + 1):
        if len(text) > most and not text.endswith(b"\n"):
            size = len(text)
            del text
            yield None, _skip(stream, size)
        else:
            yield text, len(text)


def line_of(number: int, text: bytes, bounds: LineBounds, size: int | None = None) -> Line:
    """Return the line of a text that is not blank.

    Args:
        number: its place.
        text: see `event_in`.
        bounds: see `read_lines`.
        size: its bytes, if there were more than the text has.
    """
    size = len(text) if size is None else size
    if len(text) > bounds.most_bytes:
        return Line(number, size, None, bounds.too_long)
    read = event_in(text, bounds.held)
    return Line(number, size, None, read) if isinstance(read, str) else Line(number, size, read)


def event_in(text: bytes, held: Bounds = DEFAULT_BOUNDS.held) -> Event | str:
    """Return the event that a line holds, of the right shape, or what is wrong with it.

    Args:
        text: not blank; an event, or `["EVENT", event]`, or `["EVENT", sub_id, event]`.
        held: what it may hold.
    """
    if (excess := held.excess(text)) is not None:
        return excess
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
