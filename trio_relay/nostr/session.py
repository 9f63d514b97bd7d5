"""What one client has open, apart from any I/O: `receive(bytes)` tells what a message asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.message import (
    ClientMessage,
    ContinueSync,
    Count,
    OpenSync,
    RefusedMessage,
    Subscribe,
    Unsubscribe,
    close,
    parse,
    refuse_count,
    refuse_sync,
)


class Running(Protocol):
    """What answers an open request, as far as the table of open requests knows it."""

    def end(self) -> None:
        """Stop, and send nothing more; called once."""
        ...


class OpenRequest:
    """One line of the table: a REQ, open until it is closed, or a COUNT, open until it is answered.

    Attributes:
        sub_id: the id that the client gave it.
        size: values in its filters.
        running: what answers it.
        is_ended: True for a COUNT that was stopped and whose task has not come to its end yet.
    """

    __slots__ = ("is_ended", "running", "size", "sub_id")

    def __init__(self, sub_id: str, size: int, running: Running) -> None:
        self.sub_id = sub_id
        self.size = size
        self.running = running
        self.is_ended = False

    def end(self) -> None:
        """Stop what answers it, once."""
        if not self.is_ended:
            self.is_ended = True
            self.running.end()


class Session:
    """The protocol state of one connection: the one table of the requests that its client has open.

    `receive` tells what a message asks for, and ends whatever the message ends. The caller carries the rest out: it
    puts a REQ or a COUNT that it answers into the table with `open`, takes a subscription that the relay closes itself
    out with `close`, and a COUNT that has been answered with `answered`. What leaves the table is ended by leaving it.

    Args:
        limits: what the client may ask.
        has_search: False: filters that search for words are refused.
        has_sync: False: sync (NIP-77) is refused.
        and_tags: take filters with `&x` (NIP-91, draft).
    """

    __slots__ = ("_and_tags", "_has_search", "_has_sync", "_limits", "_open")

    def __init__(
        self, limits: Limits, *, has_search: bool = True, has_sync: bool = True, and_tags: bool = False
    ) -> None:
        self._limits = limits
        self._has_search = has_search
        self._has_sync = has_sync
        self._and_tags = and_tags
        # A subscription stands under its id, a COUNT under what answers it: several may have one id.
        self._open: dict[str | Running, OpenRequest] = {}

    @property
    def open_requests(self) -> list[OpenRequest]:
        """All REQs and COUNTs that wait for anything, in the order in which they came."""
        return [request for request in self._open.values() if not request.is_ended]

    def open(self, request: Subscribe | Count, running: Running) -> None:
        """Put a request that `receive` gave last into the table, with what answers it."""
        key = request.sub_id if isinstance(request, Subscribe) else running
        self._open[key] = OpenRequest(request.sub_id, _size(request.filters), running)

    def close(self, sub_id: str) -> None:
        """Take a subscription out of the table, if there is one of this id, and end what answers it."""
        if (request := self._open.pop(sub_id, None)) is not None:
            request.end()

    def close_all(self) -> None:
        """End all that is open. A COUNT keeps its line until its task says that it has been `answered`."""
        for key, request in list(self._open.items()):
            if isinstance(key, str):
                del self._open[key]
            request.end()

    def answered(self, running: Running) -> None:
        """Take a COUNT out of the table: its task has ended, however it did."""
        del self._open[running]

    def receive(self, data: bytes) -> ClientMessage:
        """One whole text message, as bytes of valid UTF-8, to what it asks for; never fails on any input.

        A `Subscribe` with an open id replaces that subscription (NIP-01); its filters have their limits clamped.
        """
        message = parse(data, max_filters=self._limits.max_filters, all_of=self._and_tags)
        if isinstance(message, Subscribe):
            return self._subscribe(message)
        if isinstance(message, Count):
            return self._count(message)
        if isinstance(message, OpenSync):
            return self._open_sync(message)
        if isinstance(message, ContinueSync) and not self._has_sync:
            return refuse_sync(message.sync_id, _NO_SYNC)
        if isinstance(message, Unsubscribe):
            self._unsubscribe(message.sub_id)
        elif isinstance(message, RefusedMessage) and message.ends is not None:
            self.close(message.ends)
        return message

    def _unsubscribe(self, sub_id: str) -> None:
        """CLOSE ends a COUNT of its id, too, and nothing is said about it: that is what it means for a REQ."""
        self.close(sub_id)
        for request in self._open.values():
            if request.sub_id == sub_id:
                request.end()

    def _subscribe(self, message: Subscribe) -> Subscribe | RefusedMessage:
        limits = self._limits
        self.close(message.sub_id)
        if (refusal := self._refusal(message.filters)) is not None:
            return close(message.sub_id, str(refusal))
        clamped = [
            filter_.with_limit(default=limits.default_limit, most=limits.max_limit) for filter_ in message.filters
        ]
        return Subscribe(message.sub_id, tuple(clamped))

    def _count(self, message: Count) -> Count | RefusedMessage:
        if (refusal := self._refusal(message.filters)) is not None:
            return refuse_count(message.sub_id, str(refusal))
        return message

    def _open_sync(self, message: OpenSync) -> OpenSync | RefusedMessage:
        if not self._has_sync:
            return refuse_sync(message.sync_id, _NO_SYNC)
        if (refusal := self._refusal([message.filter])) is not None:
            return refuse_sync(message.sync_id, str(refusal))
        if message.filter.search is not None:
            return refuse_sync(message.sync_id, f"{Prefix.UNSUPPORTED}: a search is no set that could be compared")
        return message

    def _refusal(self, filters: Sequence[Filter]) -> Rejected | None:
        """Why one more request with these filters is too much, or more than this relay can do."""
        limits = self._limits
        if not self._has_search and any(filter_.search is not None for filter_ in filters):
            return Rejected(Prefix.UNSUPPORTED, "search is off on this relay")
        if len(self._open) >= limits.max_subscriptions:
            most = f"{limits.max_subscriptions} subscriptions on a connection (max_subscriptions)"
        elif sum(request.size for request in self._open.values()) + _size(filters) > limits.max_filter_values:
            most = f"{limits.max_filter_values} values in the filters of a connection (max_filter_values)"
        else:
            return None
        return Rejected(Prefix.ERROR, f"at most {most}")


_NO_SYNC: Final = f"{Prefix.UNSUPPORTED}: sync (NIP-77) is off on this relay"


def _size(filters: Sequence[Filter]) -> int:
    return sum(filter_.size for filter_ in filters)
