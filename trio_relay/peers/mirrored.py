"""Which events a mirror is of (pure): what is asked of the other relay, what is taken, and what it is given.

Beside the filters, some events never pass a mirror in either direction: protected ones, which only their authors may
publish (NIP-70), and what was signed for one relay alone. Private messages (NIP-04, NIP-59) go to another relay only if
a filter names their kind. Ephemeral events pass as they come; none of them can be caught up with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from trio_relay.nostr.access import Reader
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event, has_expired, is_protected
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.kinds import CLIENT_AUTH, HTTP_AUTH, VANISH
from trio_relay.nostr.urls import bare_url
from trio_relay.peers.mirror_options import MirrorOptions
from trio_relay.policy.identity import Identity
from trio_relay.policy.membership import REQUESTS

_FOR_ONE_RELAY: Final = REQUESTS | {CLIENT_AUTH, HTTP_AUTH}
"""Requests to join or to leave (NIP-43), and proofs of who somebody is (NIP-42, NIP-98)."""
_SENSELESS: Final = ("search", "limit")
"""Keys of filters that say nothing of which events a relay should have."""


def read_filters(options: MirrorOptions) -> tuple[Filter, ...]:
    """Read the filters of a mirror; one that matches all if there are none.

    Raises:
        Rejected: one of them is none, or has a key that makes no sense here.
    """
    for source in options.filters:
        if key := next((key for key in _SENSELESS if key in source), None):
            raise Rejected(Prefix.UNSUPPORTED, f"a filter of a mirror has no {key!r}")
    return tuple(parse_filter(source) for source in options.filters) or (Filter(),)


class MirroredEvents:
    """The events of one mirror.

    Args:
        options: of the mirror, checked.
        private_kinds: what only those concerned may read here.
    """

    def __init__(self, options: MirrorOptions, private_kinds: frozenset[int]) -> None:
        self.filters = read_filters(options)
        """Those of the mirror, as they are compared with events."""
        self.sources: Sequence[Mapping[str, object]] = options.filters or ({},)
        """The same as they are sent."""
        named = frozenset[int]().union(*(filter_.kinds or () for filter_ in self.filters))
        self.reader = Reader(private_kinds=private_kinds - named)
        """Who gets events here to give them to the other relay."""
        self.private_kinds = private_kinds
        """What only those concerned may read here."""
        self.identity = Identity(private_kinds=private_kinds, is_peer=True, address=bare_url(options.url))
        """Whom events count as that are judged as a client's; all of the mirror's have their turn as this one's."""
        self._sender = replace(self.identity, brings_backup=True) if options.trust == "trusted" else self.identity

    def sender_of(self, event: Event) -> Identity:
        """Whom an event counts as that the other relay has brought: requests to vanish name relays, trusted or not."""
        return self.identity if event.kind == VANISH else self._sender

    def refusal_of(self, event: Event) -> Rejected | None:
        """Why an event is not taken from a mirror, whatever else the rules say; None if it may be."""
        if event.kind in _FOR_ONE_RELAY:
            return Rejected(Prefix.BLOCKED, f"kind {event.kind} is for one relay alone")
        if is_protected(event):
            return Rejected(Prefix.BLOCKED, "only its author may publish a protected event (NIP-70)")
        return None

    def goes_up(self, event: Event, now: int) -> bool:
        """True if the other relay is to have this event of ours.

        Args:
            event: that is stored here, or delivered.
            now: seconds since 1970.
        """
        if has_expired(event, now) or self.refusal_of(event) is not None:
            return False
        if event.kind in self.private_kinds:
            return any(event.kind in (one.kinds or ()) and one.matches(event) for one in self.filters)
        return any(filter_.matches(event) for filter_ in self.filters)
