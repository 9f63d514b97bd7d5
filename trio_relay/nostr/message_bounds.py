"""How much a long message may hold, counted before any of it is decoded.

Each value becomes an object, and a megabyte has room for 350,000 of them: many times the work and the memory of any
event or request that is not refused a moment later anyway. Short messages are decoded as they come.
"""

from __future__ import annotations

from typing import Final

from trio_relay.frozen import Frozen
from trio_relay.nostr.limits import Limits

LONG: Final = 131_072
"""Bytes; what fits into less is decoded in a few milliseconds, whatever it is."""
_ITEMS_OF_A_TAG: Final = 6
"""On average over the tags of a long event; those of follow lists have four."""
_LISTS_OF_A_FILTER: Final = 128
"""A filter has a list for each of 52 letters, twice (NIP-91), and a few more."""
_SLACK: Final = 1_000
"""What a message has besides: its verb, ids, names of fields, and fields that nobody knows."""
_MOST_PARTS: Final = 131_072
"""Quotes of a message that is taken apart to be counted exactly: some milliseconds."""


class Bounds(Frozen, frozen=True):
    """What a message of more than 128 KiB may hold.

    Attributes:
        lists: lists and objects in it, at most, and as many names of fields.
        values: strings, and values that a comma divides, at most.
        too_many_lists: why one that holds more lists is refused.
        too_many_values: why one that holds more values is.
    """

    lists: int
    values: int
    too_many_lists: str
    too_many_values: str

    def excess(self, data: bytes) -> str | None:
        """Return what a message has too much of, as a sentence; None if it can be decoded.

        Brackets, colons and commas within strings count only in a message of more than 65,536 strings.
        """
        if len(data) <= LONG or self._hold(data):
            return None
        if b"\\" in data:  # first the escaped escapes, so that what is left of them stands before quotes alone
            data = data.replace(rb"\\", b"").replace(rb"\"", b"")
        quotes = data.count(b'"')
        if quotes <= min(_MOST_PARTS, 2 * self.values):
            data = b"".join(data.split(b'"')[::2])  # what stands outside of strings
        if self._hold(data):
            return None
        is_rich = quotes > 2 * self.values or data.count(b",") > self.values
        return self.too_many_values if is_rich else self.too_many_lists

    def _hold(self, data: bytes) -> bool:
        """Return True if there is not too much, even if all that could be structure is such."""
        return (
            data.count(b",") <= self.values
            and data.count(b"[") + data.count(b"{") <= self.lists
            and data.count(b":") <= self.lists
            and data.count(b'"') <= 2 * self.values
        )


class MessageBounds(Frozen, frozen=True):
    """The bounds of messages that carry an event, and of all others."""

    events: Bounds
    requests: Bounds

    @classmethod
    def of(cls, limits: Limits) -> MessageBounds:
        """Return bounds that nothing meets which these limits allow: an event's tags may have six items each."""
        items = _ITEMS_OF_A_TAG * limits.max_event_tags
        return cls(
            Bounds(
                2 * limits.max_event_tags + _SLACK,
                items + _SLACK,
                f"more than {limits.max_event_tags} tags (max_event_tags)",
                f"more than {items} items in the tags of a long event (max_event_tags)",
            ),
            Bounds(
                _LISTS_OF_A_FILTER * limits.max_filters + _SLACK,
                limits.max_filter_values + _SLACK,
                f"more lists and objects than {limits.max_filters} filters can have (max_filters)",
                f"at most {limits.max_filter_values} values in the filters of a connection (max_filter_values)",
            ),
        )
