"""Set reconciliation: finds in few messages how two sets of events differ (NIP-77; negentropy, version 1).

Each side sends fingerprints of ranges. Where they differ the other side splits the range, and sends the ids of small
ranges. The client begins with `initiate`, the server answers with `reply`, and the client goes on with `reconcile`
until there is nothing left to ask. Between messages the relay keeps only the set.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, NamedTuple

from trio_relay.nostr.errors import invalid
from trio_relay.nostr.negentropy.items import ID_SIZE, Items
from trio_relay.nostr.negentropy.wire import (
    FINGERPRINT,
    ID_LIST,
    INFINITY,
    KNOWN_AS_VERSIONS,
    SKIP,
    VERSION,
    Range,
    WireWriter,
    bound_between,
    fingerprint,
    read_ranges,
)

LEAST_FRAME: Final = 4_096
"""Bytes: the smallest limit of a message that surely has room for a split range."""
_BUCKETS: Final = 16
_RESERVE: Final = 200
"""Bytes that are kept free below the frame limit, for the last ranges of a message."""


class Step(NamedTuple):
    """What the client learns from one message of the server.

    Ids are 32 bytes each: those that only the client has, and those that it needs. If there is no next message to send,
    the client is done. If messages are limited, an id may come in more than one step.
    """

    message: bytes | None
    have: list[bytes]
    need: list[bytes]


def reply(items: Items, message: bytes, frame_limit: int = 0) -> bytes:
    """Answer a client's message as the server; an unknown version is answered with the byte of ours.

    Args:
        items: the server's; the same snapshot for all messages of a session.
        message: what the client sent, of any length; its ids are not remembered.
        frame_limit: most bytes of the answer, at least 4,096; 0 for no limit.

    Raises:
        Rejected: the message breaks the format.
    """
    if _version(message) != VERSION:
        return bytes([VERSION])
    return bytes(_Server(items, frame_limit).read(message))


def initiate(items: Items) -> bytes:
    """Make the client's first message, of less than 4,096 bytes."""
    return bytes(_Client(items, 0).begin())


def reconcile(items: Items, message: bytes, frame_limit: int = 0) -> Step:
    """Read the server's answer as the client: what it learns, and what it asks next; arguments as for `reply`.

    Raises:
        Rejected: the message breaks the format, or is of another version.
    """
    if _version(message) != VERSION:
        raise invalid(f"negentropy: the version {message[0]:#x} is unknown")
    client = _Client(items, frame_limit)
    answer = client.read(message)
    return Step(bytes(answer) if len(answer) > 1 else None, client.have, client.need)


def _version(message: bytes) -> int:
    if not message or message[0] not in KNOWN_AS_VERSIONS:
        raise invalid("negentropy: a message begins with its version")
    return message[0]


class _Side(ABC):
    """One side's work on one message: it reads range by range while it writes its answer."""

    def __init__(self, items: Items, frame_limit: int) -> None:
        if 0 < frame_limit < LEAST_FRAME:
            raise ValueError(f"a frame has at least {LEAST_FRAME} bytes")
        self.items = items
        self.out = WireWriter()
        self.most = frame_limit - _RESERVE if frame_limit else None
        self._skipped: bytes | None = None
        self._known_sum = (0, 0)

    def begin(self) -> WireWriter:
        self._split(0, len(self.items), INFINITY)
        return self.out

    def read(self, message: bytes) -> WireWriter:
        lower = 0
        for range_ in read_ranges(message):
            upper = self.items.find(range_.bound)
            rest = self._take(range_, lower, upper)
            if rest is not None:
                self._end(rest)
                break
            lower = upper
        return self.out

    def _take(self, range_: Range, lower: int, upper: int) -> int | None:
        """Answer one range; if the message is full, return the index from which on nothing is answered."""
        if range_.mode == ID_LIST:
            return self.take_ids(range_, lower, upper)
        if range_.mode == SKIP or range_.payload == self._fingerprint(lower, upper):
            self.skip(range_.bound)
            return None
        before = self.out.mark(), self._skipped
        self.put_skipped()
        self._split(lower, upper, range_.bound)
        if not self.is_full():
            return None
        mark, self._skipped = before
        self.out.cut(mark)
        return lower

    @abstractmethod
    def take_ids(self, range_: Range, lower: int, upper: int) -> int | None:
        """Answer one range that is a list of ids, as `_take`."""

    def is_full(self) -> bool:
        return self.most is not None and len(self.out) > self.most

    def skip(self, bound: bytes) -> None:
        """Skip up to this bound; neighbouring skips become one range, and one at the end is left out."""
        self._skipped = bound

    def put_skipped(self) -> None:
        if self._skipped is not None:
            self.out.put(self._skipped, SKIP)
            self._skipped = None

    def _end(self, lower: int) -> None:
        """End a full message with a fingerprint of the rest, so that the other side asks for it again if it differs."""
        self.put_skipped()
        self.out.put(INFINITY, FINGERPRINT, self._fingerprint(lower, len(self.items)))

    def _split(self, lower: int, upper: int, bound: bytes) -> None:
        number = upper - lower
        if number < 2 * _BUCKETS:
            self.out.put(bound, ID_LIST, self.items.ids(lower, upper))
            return
        size, larger = divmod(number, _BUCKETS)
        for bucket in range(_BUCKETS):
            end = lower + size + (bucket < larger)
            between = bound if end == upper else bound_between(self.items.record(end - 1), self.items.record(end))
            self.out.put(between, FINGERPRINT, self._fingerprint(lower, end))
            lower = end

    def _fingerprint(self, lower: int, upper: int) -> bytes:
        below = self._sum_before(lower)
        return fingerprint(self._sum_before(upper) - below, upper - lower)

    def _sum_before(self, index: int) -> int:
        # The end of one range is the beginning of the next, so the last sum is kept.
        if self._known_sum[0] != index:
            self._known_sum = index, self.items.sum_before(index)
        return self._known_sum[1]


class _Server(_Side):
    def take_ids(self, range_: Range, lower: int, upper: int) -> int | None:
        """Send all ids of the range, or as many as have room; the client compares them with its own."""
        end = upper
        if self.most is not None:
            end = min(upper, lower + 1 + (self.most - len(self.out)) // ID_SIZE)
        self.put_skipped()
        self.out.put(
            range_.bound if end == upper else _bound_at(self.items.record(end)), ID_LIST, self.items.ids(lower, end)
        )
        return end if self.is_full() else None


class _Client(_Side):
    def __init__(self, items: Items, frame_limit: int) -> None:
        super().__init__(items, frame_limit)
        self.have: list[bytes] = []
        self.need: list[bytes] = []

    def take_ids(self, range_: Range, lower: int, upper: int) -> int | None:
        ours, theirs = dict.fromkeys(_ids(self.items.ids(lower, upper))), dict.fromkeys(_ids(range_.payload))
        self.have += [each for each in ours if each not in theirs]
        self.need += [each for each in theirs if each not in ours]
        self.skip(range_.bound)
        return None


def _bound_at(record: bytes) -> bytes:
    return record[:-ID_SIZE] + record[-ID_SIZE:].rstrip(b"\0")


def _ids(joined: bytes) -> list[bytes]:
    return [joined[start : start + ID_SIZE] for start in range(0, len(joined), ID_SIZE)]
