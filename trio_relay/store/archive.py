"""The archive: what has gone from a store, kept apart for operators. Its promises, which `tests/contract` keeps.

1. While `store.archive` is on, each event that was acknowledged as stored and is then replaced (NIP-01), deleted
   (NIP-09) or swept after it has expired (NIP-40) is in the archive no later than it is gone from the store, with the
   reason, the time and what caused it. A store with transactions does both in one. What was superseded when it came was
   never stored, and is not kept.
2. Nothing of the archive is in an answer, count, record, sketch, search, scan or tally: `archived` alone tells it, and
   leaves out what stands in the store, as an older version does that was stored again.
3. A request to vanish (NIP-62) takes from the archive what it takes from the store, gift wraps to the key too, and so
   does `Store.remove`; both also where `store.archive` is off. No other setting empties it but its own
   `archive_seconds`, by `Store.sweep`.
4. Where several relays write one store, the cause that is told may be an event that lost against another one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

import msgspec

from trio_relay.nostr.filter import Filter


class Departure(Enum):
    """Why an event has gone."""

    REPLACED = "replaced"
    """By a newer version of its address (NIP-01)."""
    DELETED = "deleted"
    """Its author, or for a gift wrap one of its recipients, has asked to delete it (NIP-09)."""
    EXPIRED = "expired"
    """It said itself how long it lasts (NIP-40)."""


class DepartureCause(NamedTuple):
    """Why an event goes, and the id of the event that makes it go: its successor, or the request to delete it."""

    reason: Departure
    by: str = ""
    """Empty if it has expired, or where nobody knows."""


@dataclass(frozen=True, slots=True)
class Archived:
    """An event that has gone."""

    event: bytes
    """As JSON (`event.encode`)."""
    reason: Departure
    at: int
    """When it went, in seconds since 1970."""
    by: str
    """See `DepartureCause`."""

    @property
    def id(self) -> str:
        """Of the event."""
        return self.event[7:71].decode()  # as `base.id_of`, which knows this module

    def encode(self) -> bytes:
        """Return it as one JSON object: the event, the reason, when it went, and the id that caused it or null."""
        return _encode(
            {"event": msgspec.Raw(self.event), "reason": self.reason.value, "at": self.at, "by": self.by or None}
        )


_encode: Final = msgspec.json.Encoder().encode


class Archiving(NamedTuple):
    """Whether a store keeps what goes, and for how many seconds; 0: for ever."""

    is_on: bool = False
    seconds: int = 0


NOTHING_KEPT: Final = Archiving()


class Archive(Protocol):
    """The part of a store that tells what has gone from it."""

    def archived(self, filter_: Filter) -> AsyncGenerator[list[Archived], None]:
        """Yield what is in the archive and matches, what went last first, in pages that are never empty.

        The filter's limit counts, if it has one; its reader plays no part. Words are searched for, but a `domain:`
        finds nothing, and `sort:` plays no part. Cancelling a step ends the work behind it.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        ...
