"""The web of trust: who is within so many follows of some keys (NIP-02)."""

from __future__ import annotations

from typing import Final

from trio_relay.nostr.event import Event, recipients
from trio_relay.nostr.kinds import FOLLOWS

MOST_TRUSTED: Final = 500_000
"""Keys; some 100 bytes each. A web that grows beyond is cut where it is."""


def followed(event: Event) -> list[str]:
    """All keys that a list follows, in its order; none if this is no list."""
    return recipients(event) if event.kind == FOLLOWS else []
