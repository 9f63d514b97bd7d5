"""Identity: the keys that a connection has authenticated, and what else decides what it may do."""

from __future__ import annotations

from dataclasses import dataclass, field

from trio_relay.nostr.access import PRIVATE_KINDS, Reader
from trio_relay.policy.accounts import NO_ACCOUNT, Account

MOST_KEYS = 64
"""Most keys that one connection may authenticate, so that no check has to look at thousands."""


@dataclass(eq=False, slots=True)
class Identity:
    """The identity of one connection.

    Attributes:
        challenge: what its AUTH events must name; empty where authentication is off.
        private_kinds: kinds that are served to their authors and recipients only.
        is_operator: True for an import: whoever can open the store needs no authentication.
        brings_backup: True for an import of this relay's own export, and for a relay that is trusted as much: what was
            let in once is not judged again.
        is_peer: True for another relay whose events this one fetches itself: it needs no authentication either.
        origin: the IPv4 address or the IPv6 /64 network that its requests are counted under, where something is bounded
            by address; None: they count under none.
        account: is charged for the work that its requests make, see `accounts`.
        address: of the client, as text; empty where there is none.
        keys: pubkeys that the connection has authenticated (NIP-42), for as long as it lasts.
        reader: the same keys as `nostr.access` sees them.
    """

    challenge: str = ""
    private_kinds: frozenset[int] = PRIVATE_KINDS
    is_operator: bool = False
    brings_backup: bool = False
    is_peer: bool = False
    origin: str | None = None
    account: Account = NO_ACCOUNT
    address: str = ""
    keys: set[str] = field(default_factory=set)
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = Reader(self.keys, self.private_kinds)

    @property
    def holder(self) -> str | Identity:
        """Whose turn its requests take: its origin's, or its own where it counts under none."""
        return self.origin or self
