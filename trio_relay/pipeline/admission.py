"""Who comes in, and with what: identities, sessions, and the verdicts on what clients send and ask."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from trio_relay.moderation.join_attempts import JoinAttempts
from trio_relay.nostr.access import may_read
from trio_relay.nostr.auth import check_auth
from trio_relay.nostr.errors import Prefix, Rejected, bad_signature
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.session import Session
from trio_relay.policy.event_checks import check_bans, check_event, check_restored
from trio_relay.policy.filter_checks import check_filters
from trio_relay.policy.identity import MOST_KEYS, Identity
from trio_relay.policy.lists import ListName
from trio_relay.policy.membership import REQUESTS
from trio_relay.policy.retention_checks import check_retention, is_bounded
from trio_relay.policy.rules import Rules

Verify: TypeAlias = Callable[[Event], Awaitable[bool]]


class Admission:
    """Applies the rules to one client, event or request at a time, and counts what is refused.

    Args:
        rules: as they stand.
        clock: seconds since 1970.
    """

    def __init__(self, rules: Rules, clock: Callable[[], float]) -> None:
        self.stranger = Identity(private_kinds=rules.private_kinds)
        """The identity of a client that has not authenticated."""
        self.refused: Counter[str] = Counter()
        """Events that were refused, by prefix."""
        self.received: Counter[int] = Counter()
        """All events, by kind, of which there are 65,536."""
        self._rules = rules
        self._clock = clock
        self._join_attempts = JoinAttempts(rules)
        self._requests = REQUESTS if rules.has_membership else frozenset[int]()

    def new_identity(self, origin: str | None = None, address: str = "") -> Identity:
        """The identity of a new client, with a challenge of its own where clients can authenticate.

        Args:
            origin, address: whom it counts as, and where it is, see `Identity`.
        """
        rules = self._rules
        challenge = secrets.token_hex(16) if rules.has_auth else ""
        return Identity(challenge, private_kinds=rules.private_kinds, origin=origin, address=address)

    def renew(self, identity: Identity) -> None:
        """Have a client that is here be able to authenticate as those who come: the relay may have a name by now."""
        if self._rules.has_auth and not identity.challenge:
            identity.challenge = secrets.token_hex(16)

    def open_session(self) -> Session:
        """The protocol state of a new connection, held to what this relay can do."""
        rules = self._rules
        return Session(
            rules.limits,
            has_search=rules.has_search,
            has_sync=rules.has_sync,
            and_tags=rules.options.and_tags,
            search_prefix=rules.search_prefix,
        )

    def admit(self, event: Event, identity: Identity | None = None, size: int = 0) -> Rejected | None:
        """None if the event may be published, else why not; to be asked of every event before `publish`.

        Args:
            event: of the right shape.
            identity: who sends it; None: somebody who has not authenticated.
            size: bytes of the message that it came in, if known.
        """
        self.received[event.kind] += 1
        now = int(self._clock())
        if identity is not None and identity.brings_backup:
            refusal = check_restored(event, self._rules, now)
            if refusal is None and identity.is_peer and is_bounded(event.kind, self._rules):
                # Else what retention lets go would come back at each connect.
                refusal = check_retention(event, identity, self._rules, now)
        else:
            refusal = check_event(event, identity or self.stranger, self._rules, now, size)
            if refusal is None and event.kind in self._requests:
                refusal = self._join_attempts.take(event, (identity or self.stranger).origin, now)
        if refusal is not None:
            self.refused[refusal.prefix] += 1
        return refusal

    def told(self, reason: str, event: Event, identity: Identity) -> str:
        """What the sender of an accepted event is told of it: whether it was here before, only if it may read that."""
        is_told = may_read(event, identity.reader) or not reason.startswith(f"{Prefix.DUPLICATE}:")
        return reason if is_told else ""

    def bars(self) -> Callable[[Event], Rejected | None] | None:
        """What tells why an admitted event is not welcome any more; None while nobody and nothing is banned."""
        bans_any = self._rules.has_bans or self._rules.lists.holds_any(ListName.BANNED_EVENTS)
        return self._barred if bans_any else None

    def _barred(self, event: Event) -> Rejected | None:
        return check_bans(event, self._rules, int(self._clock()))

    def admit_filters(self, filters: Sequence[Filter], identity: Identity) -> Rejected | None:
        """None if the client may ask these, else why not; to be asked before `subscribe`, `count` and a sync."""
        return check_filters(filters, identity, self._rules, int(self._clock()))

    async def authenticate(self, event: Event, identity: Identity, verify: Verify) -> Rejected | None:
        """Add a key to a client's if this event proves it (NIP-42); else why it does not."""
        if not self._rules.has_auth:
            return Rejected(Prefix.UNSUPPORTED, "authentication is off on this relay (relay.url)")
        if len(identity.keys) >= MOST_KEYS and event.pubkey not in identity.keys:
            return Rejected(Prefix.RESTRICTED, f"at most {MOST_KEYS} keys on a connection")
        url, *also = self._rules.entrances
        refusal = check_auth(event, identity.challenge, url, int(self._clock()), also)
        if refusal is None and not await verify(event):
            refusal = bad_signature()
        if refusal is None:
            if event.pubkey not in identity.keys:
                identity.account.add_key(event.pubkey)
            identity.keys.add(event.pubkey)
        return refusal
