"""Who is at the other end of a connection, as far as the relay knows."""

from __future__ import annotations

from dataclasses import dataclass, field

from trio_relay.nostr.access import PRIVATE_KINDS, Reader

MOST_KEYS = 64
"""Keys that one connection may authenticate; more are refused, so that no gate has thousands to look at."""


@dataclass(eq=False, slots=True)
class Identity:
    """One connection.

    Attributes:
        challenge: that its AUTH events must name; empty where authentication is off.
        private_kinds: what is served to those concerned alone.
        is_operator: True for an import: who can read the store needs no authentication.
        brings_backup: True if what he brings was exported from here, protected events included.
        keys: pubkeys that it has authenticated (NIP-42), for as long as it lasts.
        reader: the same keys as the gate sees them.
    """

    challenge: str = ""
    private_kinds: frozenset[int] = PRIVATE_KINDS
    is_operator: bool = False
    brings_backup: bool = False
    keys: set[str] = field(default_factory=set)
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = Reader(self.keys, self.private_kinds)
