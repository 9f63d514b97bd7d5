"""What one client has open, apart from any I/O: `receive(bytes)` tells what a message asks for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final, Protocol

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter, parse_filter
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
from trio_relay.nostr.message_bounds import MessageBounds

_bounds_of = lru_cache(maxsize=16)(MessageBounds.of)  # a relay has one, thousands of sessions use it


class OpenRequest(Protocol):
    """What answers one open request: a REQ, open until it is closed, or a COUNT, open until it is answered.

    Attributes:
        sub_id: the id that the client gave it; there once it is in the table, like all of these.
        filters: what it asks for.
        size: what its filters count, see `Filter.weight`.
        is_ended: True for a COUNT that was stopped and whose task has not come to its end yet.
    """

    sub_id: str
    filters: tuple[Filter, ...]
    size: int
    is_ended: bool

    def end(self) -> None:
        """Stop, and send nothing more; called once."""


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
        search_prefix: of how many characters or more the last word of a search may be the beginning of one; 0: never.
    """

    __slots__ = ("_bounds", "_has_search", "_has_sync", "_limits", "_open", "_reading", "_values", "asked")

    def __init__(
        self,
        limits: Limits,
        *,
        has_search: bool = True,
        has_sync: bool = True,
        and_tags: bool = False,
        search_prefix: int = 0,
    ) -> None:
        self._limits = limits
        self._bounds = _bounds_of(limits)
        self._has_search = has_search
        self._has_sync = has_sync
        self._reading = _Reading(limits.max_filter_values, all_of=and_tags, prefix=search_prefix)
        # A subscription stands under its id, a COUNT under what answers it: several may have one id.
        self._open: dict[str | OpenRequest, OpenRequest] = {}
        self._values = 0
        """What the filters of all that is open count."""
        self.asked = 0
        """The same of the last request that was found to have room."""

    def go_by(self, other: Session) -> None:
        """Hold the client to what another session holds its own to; what is open stays so."""
        self._limits, self._bounds, self._reading = other._limits, other._bounds, other._reading
        self._has_search, self._has_sync = other._has_search, other._has_sync

    @property
    def open_requests(self) -> list[OpenRequest]:
        """All REQs and COUNTs that wait for anything, in the order in which they came."""
        return [request for request in self._open.values() if not request.is_ended]

    def open(self, request: Subscribe | Count, answerer: OpenRequest) -> None:
        """Put the request that `receive` gave last into the table, as what answers it."""
        answerer.sub_id, answerer.filters = request.sub_id, request.filters
        answerer.size, answerer.is_ended = self.asked, False
        self._open[request.sub_id if isinstance(request, Subscribe) else answerer] = answerer
        self._values += answerer.size

    def close(self, sub_id: str) -> None:
        """Take a subscription out of the table, if there is one of this id, and end it."""
        if (subscription := self._open.pop(sub_id, None)) is not None:
            self._values -= subscription.size
            subscription.end()

    def close_all(self, but: Collection[OpenRequest] = ()) -> None:
        """End all that is open but these. A COUNT keeps its line until its task says that it has been `answered`."""
        for key, request in list(self._open.items()):
            if request in but:
                continue
            if isinstance(key, str):
                self.close(key)
            else:
                _end_count(request)

    def answered(self, count: OpenRequest) -> None:
        """Take a COUNT out of the table: its task has ended, however it did."""
        del self._open[count]
        self._values -= count.size

    def hold(self, size: int) -> None:
        """Count the filter of a sync while its set is read; `let_go` at last."""
        self._values += size

    def let_go(self, size: int) -> None:
        """Count a filter no longer that was held."""
        self._values -= size

    @property
    def filter_values(self) -> int:
        """What all open filters count together, see `Filter.weight`."""
        return self._values

    def receive(self, data: bytes) -> ClientMessage:
        """One whole text message, as bytes of valid UTF-8, to what it asks for; never fails on any input.

        A `Subscribe` with an open id replaces that subscription (NIP-01); its filters have their limits clamped.
        """
        self._reading.left = self._limits.max_filter_values
        message = parse(data, max_filters=self._limits.max_filters, read_filter=self._reading, bounds=self._bounds)
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
                _end_count(request)

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
        limits, size = self._limits, sum(filter_.weight for filter_ in filters)
        if not self._has_search and any(filter_.search is not None for filter_ in filters):
            return Rejected(Prefix.UNSUPPORTED, "search is off on this relay")
        if len(self._open) >= limits.max_subscriptions:
            most = f"{limits.max_subscriptions} subscriptions on a connection (max_subscriptions)"
        elif self._values + size > limits.max_filter_values:
            return _too_many_values(limits.max_filter_values)
        else:
            self.asked = size
            return None
        return Rejected(Prefix.ERROR, f"at most {most}")


_NO_SYNC: Final = f"{Prefix.UNSUPPORTED}: sync (NIP-77) is off on this relay"


class _Reading:
    """Reads the filters of a message, and nothing of those that would bring more values than a client may have.

    Args:
        most: values of one message.
        all_of, prefix: see `parse_filter`.
    """

    __slots__ = ("_all_of", "_most", "_prefix", "left")

    def __init__(self, most: int, *, all_of: bool, prefix: int) -> None:
        self._all_of = all_of
        self._prefix = prefix
        self._most = most
        self.left = most
        """Values that the rest of the message may have."""

    def __call__(self, source: object) -> Filter:
        """Make a filter of a decoded JSON value.

        Raises:
            Rejected: it is none, or there are too many values; those are not looked at.
        """
        if isinstance(source, dict):
            for value in source.values():
                if type(value) is list:
                    self.left -= len(value)
            if self.left < 0:
                raise _too_many_values(self._most)
        return parse_filter(source, all_of=self._all_of, prefix=self._prefix)


def _too_many_values(most: int) -> Rejected:
    return Rejected(Prefix.ERROR, f"at most {most} values in the filters of a connection (max_filter_values)")


def _end_count(request: OpenRequest) -> None:
    if not request.is_ended:
        request.is_ended = True
        request.end()
