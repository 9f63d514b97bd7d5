"""What one client has open, apart from any I/O: `receive(bytes)` tells what the message asks for."""

from __future__ import annotations

from dataclasses import replace

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.message import Answer, ClientMessage, Subscribe, Unsubscribe, closed, parse


class Session:
    """The protocol state of one connection: the subscription ids that it has open.

    The caller carries out what `receive` returns, and calls `ended` for a subscription that the relay closes itself.
    """

    __slots__ = ("_limits", "_open")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: set[str] = set()

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
            self._open.discard(message.sub_id)
        return message

    def _subscribe(self, message: Subscribe) -> Subscribe | Answer:
        most = self._limits.max_subscriptions
        if message.sub_id not in self._open and len(self._open) >= most:
            refusal = Rejected(Prefix.ERROR, f"at most {most} subscriptions on a connection (max_subscriptions)")
            return Answer(closed(message.sub_id, str(refusal)))
        self._open.add(message.sub_id)
        limits = self._limits
        clamped = tuple(f.with_limit(default=limits.default_limit, most=limits.max_limit) for f in message.filters)
        return replace(message, filters=clamped)

    def ended(self, sub_id: str) -> None:
        """The relay has closed this subscription by itself, so that the id is free again."""
        self._open.discard(sub_id)
