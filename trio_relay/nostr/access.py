"""The one gate: who may read which event. Stored results, live events, counts, searches and sync all pass it.

Messages between people are served to those concerned alone (NIP-04, NIP-17, NIP-59), whatever a filter asks for: a
filter by id, by somebody else's `#p` or without kinds would match them too. (Expired events are served to nobody: that
is up to the stores and the broadcaster, which know what time it is.)
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

from trio_relay.frozen import Frozen
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import ENCRYPTED_MESSAGE, WRAPS

PRIVATE_KINDS: Final = frozenset({ENCRYPTED_MESSAGE, *WRAPS})


class Reader(Frozen, frozen=True):
    """The reader of an answer, as far as the gate has to know it.

    Attributes:
        keys: pubkeys that have authenticated on the connection (NIP-42). It may be a set that grows.
        private_kinds: what only those concerned may read.
    """

    keys: AbstractSet[str] = frozenset()
    private_kinds: frozenset[int] = PRIVATE_KINDS

    def now(self) -> Reader:
        """Return the same reader with the keys of this moment."""
        keys = self.keys
        return self if isinstance(keys, frozenset) else Reader(frozenset(keys), self.private_kinds)


NOBODY: Final = Reader()
"""The reader that has not authenticated."""


def may_read(event: Event, reader: Reader) -> bool:
    """True if the event is public, or the reader is concerned: its author, or among those that it names in `p` tags.

    The author of a gift wrap is a random key, so only its recipients count (NIP-59).
    """
    return event.kind not in reader.private_kinds or not concerned(event).isdisjoint(reader.keys)


def concerned(event: Event) -> set[str]:
    """Return the pubkeys that a private event is served to; cheaper than `may_read` for many readers."""
    keys = {tag[1] for tag in event.tags if len(tag) > 1 and tag[0] == "p"}
    if event.kind not in WRAPS:
        keys.add(event.pubkey)
    return keys
