"""What one client has open, apart from any I/O: `receive(bytes)` tells what the message asks for."""

from __future__ import annotations

from trio_relay.nostr.limits import Limits
from trio_relay.nostr.message import Answer, ClientMessage, Subscribe, Unsubscribe, close, parse


class Session:
    """The protocol state of one connection: the subscription ids that it has open, and the size of their filters.

    The caller carries out what `receive` returns, and calls `ended` for a subscription that the relay closes itself.
    """

    __slots__ = ("_limits", "_open")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[str, int] = {}

    @property
    def open_sub_ids(self) -> frozenset[str]:
        """The subscription ids that the client holds open now."""
        return frozenset(self._open)

    def receive(self, data: bytes) -> ClientMessage:
        """One whole text message, as bytes of valid UTF-8, to what it asks for; never fails on any input.

        A `Subscribe` with an open id replaces that subscription (NIP-01); its filters have their limits clamped.
        """
        message = parse(data, max_filters=self._limits.max_filters)
        if isinstance(message, Subscribe):
            return self._subscribe(message)
        if isinstance(message, Unsubscribe):
            self.ended(message.sub_id)
        elif isinstance(message, Answer) and message.ends is not None:
            self.ended(message.ends)
        return message

    def _subscribe(self, message: Subscribe) -> Subscribe | Answer:
        limits = self._limits
        self.ended(message.sub_id)
        if len(self._open) >= limits.max_subscriptions:
            most = f"{limits.max_subscriptions} subscriptions on a connection (max_subscriptions)"
            return close(message.sub_id, f"error: at most {most}")
        size = sum(one.size for one in message.filters)
        if sum(self._open.values()) + size > limits.max_filter_values:
            most = f"{limits.max_filter_values} values in the filters of a connection (max_filter_values)"
            return close(message.sub_id, f"error: at most {most}")
        self._open[message.sub_id] = size
        clamped = [one.with_limit(default=limits.default_limit, most=limits.max_limit) for one in message.filters]
        return Subscribe(message.sub_id, tuple(clamped))

    def ended(self, sub_id: str) -> None:
        """The relay has closed this subscription by itself, so that the id is free again."""
        self._open.pop(sub_id, None)
