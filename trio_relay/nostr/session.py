"""What one client has open, apart from any I/O: `receive(bytes)` tells what the message asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

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


class Session:
    """The protocol state of one connection: the subscription ids that it has open, and the size of their filters.

    The caller carries out what `receive` returns, and calls `ended` for a subscription that the relay closes itself,
    and `counted` for each `Count` that has ended, however it did.

    Args:
        limits: what the client may ask.
        has_search: False: filters that search for words are refused.
        has_sync: False: sync (NIP-77) is refused.
        and_tags: take filters with `&x` (NIP-91, draft).
    """

    __slots__ = ("_and_tags", "_counts", "_counts_size", "_has_search", "_has_sync", "_limits", "_open")

    def __init__(
        self, limits: Limits, *, has_search: bool = True, has_sync: bool = True, and_tags: bool = False
    ) -> None:
        self._limits = limits
        self._has_search = has_search
        self._has_sync = has_sync
        self._and_tags = and_tags
        self._open: dict[str, int] = {}
        self._counts = 0
        self._counts_size = 0

    @property
    def open_sub_ids(self) -> frozenset[str]:
        """The subscription ids that the client holds open now."""
        return frozenset(self._open)

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
            self.ended(message.sub_id)
        elif isinstance(message, RefusedMessage) and message.ends is not None:
            self.ended(message.ends)
        return message

    def _subscribe(self, message: Subscribe) -> Subscribe | RefusedMessage:
        limits = self._limits
        self.ended(message.sub_id)
        size = _size(message.filters)
        if (refusal := self._refusal(message.filters, size)) is not None:
            return close(message.sub_id, str(refusal))
        self._open[message.sub_id] = size
        clamped = [
            filter_.with_limit(default=limits.default_limit, most=limits.max_limit) for filter_ in message.filters
        ]
        return Subscribe(message.sub_id, tuple(clamped))

    def _count(self, message: Count) -> Count | RefusedMessage:
        size = _size(message.filters)
        if (refusal := self._refusal(message.filters, size)) is not None:
            return refuse_count(message.sub_id, str(refusal))
        self._counts += 1
        self._counts_size += size
        return message

    def _open_sync(self, message: OpenSync) -> OpenSync | RefusedMessage:
        if not self._has_sync:
            return refuse_sync(message.sync_id, _NO_SYNC)
        if (refusal := self._refusal([message.filter], message.filter.size)) is not None:
            return refuse_sync(message.sync_id, str(refusal))
        if message.filter.search is not None:
            return refuse_sync(message.sync_id, "unsupported: a search is no set that could be compared")
        return message

    def _refusal(self, filters: Sequence[Filter], size: int) -> Rejected | None:
        """Why one more request with these filters is too much, or more than this relay can do."""
        limits = self._limits
        if not self._has_search and any(filter_.search is not None for filter_ in filters):
            return Rejected(Prefix.UNSUPPORTED, "search is off on this relay")
        if len(self._open) + self._counts >= limits.max_subscriptions:
            most = f"{limits.max_subscriptions} subscriptions on a connection (max_subscriptions)"
        elif sum(self._open.values()) + self._counts_size + size > limits.max_filter_values:
            most = f"{limits.max_filter_values} values in the filters of a connection (max_filter_values)"
        else:
            return None
        return Rejected(Prefix.ERROR, f"at most {most}")

    def counted(self, request: Count) -> None:
        """A COUNT has ended, so that there is room for the next."""
        self._counts -= 1
        self._counts_size -= _size(request.filters)

    def ended(self, sub_id: str) -> None:
        """The relay has closed this subscription by itself, so that the id is free again."""
        self._open.pop(sub_id, None)


_NO_SYNC: Final = "unsupported: sync (NIP-77) is off on this relay"


def _size(filters: Sequence[Filter]) -> int:
    return sum(filter_.size for filter_ in filters)
