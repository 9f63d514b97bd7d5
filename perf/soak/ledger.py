"""What clients have sent and what they were told of it, and what must stand in the store by that. Pure.

What was sent and never answered may be stored or not, and so may do what it does to others: a fate can be open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from trio_relay.nostr.event import Event, address_of, deletion_targets, supersedes
from trio_relay.nostr.kinds import DELETION, is_ephemeral


class Fate(Enum):
    """What must be found of an event."""

    STANDS = auto()
    """It was acknowledged, and nothing that was sent since may have taken it away."""
    GONE = auto()
    """It is never stored, or something that was acknowledged has taken it away."""
    OPEN = auto()
    """It was not acknowledged, or something that was not may have taken it away."""


@dataclass(slots=True)
class Entry:
    """One event.

    Attributes:
        event: as it was sent.
        sent_at: when first; seconds of a clock that never jumps.
        acknowledged_at: when OK true came; None if it never did.
        is_news: True if that OK said that it was new, so that listeners get it.
        said: the last answer's reason.
        port: of the relay that was asked last.
    """

    event: Event
    sent_at: float
    acknowledged_at: float | None = None
    is_news: bool = False
    said: str = ""
    port: int = 0


class Ledger:
    """All events of a run.

    Args:
        write: gets each change as a tuple for a file beside the run; by default it is not kept.
    """

    def __init__(self, write: Callable[[tuple[object, ...]], None] | None = None) -> None:
        self.entries: dict[str, Entry] = {}
        self.acknowledged: list[Entry] = []
        """In the order of their OKs."""
        self.latest_clock = 0.0
        """The latest time of day that the relay's clock has shown: what had expired by then may be gone."""
        self._write = write or _nowhere
        self._versions: dict[str, list[Entry]] = defaultdict(list)
        self._deletions: dict[tuple[str, str], list[Entry]] = defaultdict(list)
        """By target, an id or an address, and by the key that asked."""

    def send(self, event: Event, now: float) -> None:
        """Note that an event is about to be sent, before it is."""
        if event.id in self.entries:
            return
        entry = self.entries[event.id] = Entry(event, now)
        if (address := address_of(event)) is not None:
            self._versions[address].append(entry)
        if event.kind == DELETION:
            ids, addresses = deletion_targets(event)
            for target in (*ids, *addresses):
                self._deletions[target, event.pubkey].append(entry)
        self._write(("sent", now, event))

    def hear(self, event_id: str, accepted: bool, reason: str, now: float, port: int = 0) -> Entry:
        """Note the answer to an event.

        Args:
            event_id: of it.
            accepted: what OK said.
            reason: what OK said.
            now: when; seconds of a clock that never jumps.
            port: of the relay that said so.

        Raises:
            KeyError: nobody has sent it.
        """
        entry = self.entries[event_id]
        entry.said, entry.port = reason, port
        if accepted and entry.acknowledged_at is None:
            entry.acknowledged_at = now
            entry.is_news = not reason
            self.acknowledged.append(entry)
        self._write(("OK", now, event_id, accepted, reason))
        return entry

    def fate(self, event_id: str, clock: float) -> Fate:
        """What must be found of an event that was sent.

        Args:
            event_id: of it.
            clock: the relay's time of day, which decides what has expired.
        """
        entry = self.entries[event_id]
        expiration = expiration_of(entry.event)
        is_acknowledged = entry.acknowledged_at is not None
        if is_ephemeral(entry.event.kind) or (expiration is not None and expiration <= clock):
            return Fate.GONE
        against = list(self._against(entry))
        if any(other.acknowledged_at is not None for other in against):
            return Fate.GONE
        if against or not is_acknowledged or (expiration is not None and expiration <= self.latest_clock):
            return Fate.OPEN
        return Fate.STANDS

    def _against(self, entry: Entry) -> Iterator[Entry]:
        """What takes an event away, if it is stored."""
        event = entry.event
        if event.kind == DELETION:  # no deletion deletes these (NIP-09)
            return
        yield from self._deletions.get((event.id, event.pubkey), ())
        if (address := address_of(event)) is None:
            return
        for deletion in self._deletions.get((address, event.pubkey), ()):
            if deletion.event.created_at >= event.created_at:
                yield deletion
        for other in self._versions[address]:
            if supersedes(other.event.created_at, other.event.id, event.created_at, event.id):
                yield other


def expiration_of(event: Event) -> int | None:
    """When it expires (NIP-40); None if it does not."""
    return next((int(tag[1]) for tag in event.tags if tag[0] == "expiration"), None)


def _nowhere(_: tuple[object, ...]) -> None:
    """Nobody keeps it."""
