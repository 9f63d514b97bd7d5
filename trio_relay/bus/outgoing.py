"""What a member has still to say: its notes in a row, in a bounded number of bytes."""

from __future__ import annotations

from collections import deque
from typing import Final

import trio

from trio_relay.bus.entries import Entry

ENTRY_BYTES: Final = 262_144
"""Notes go out together up to here; a longer one goes out by itself."""
NOTE_BYTES: Final = 64
"""What a note needs in memory besides its payload."""


class Outgoing:
    """The notes that are not known to stand on the bus.

    The oldest go where there is no room: whoever hears of the gap reads what was stored from the store, and of what was
    not stored, the newest is wanted most.

    Args:
        sender: whose notes these are.
        most_bytes: that may wait.
    """

    def __init__(self, sender: str, most_bytes: int) -> None:
        self._sender = sender
        self._most_bytes = most_bytes
        self._notes: deque[bytes] = deque()
        self._first = 0
        self._bytes = 0
        self._news = trio.Event()
        self.dropped = 0
        """Notes that found no room."""
        self.sent = 0
        """Notes that stand on the bus."""

    @property
    def waiting_bytes(self) -> int:
        """That wait."""
        return self._bytes

    def add(self, note: bytes) -> None:
        """Let this wait too."""
        self._notes.append(note)
        self._bytes += len(note) + NOTE_BYTES
        while self._bytes > self._most_bytes:
            self._pop()
            self.dropped += 1
        self._news.set()

    def head(self) -> Entry:
        """Return the oldest notes, as many as go out together; none if none wait."""
        notes: list[bytes] = []
        room = ENTRY_BYTES
        for note in self._notes:
            room -= len(note)
            if notes and room < 0:
                break
            notes.append(note)
        return Entry(self._sender, self._first, notes)

    def pulse(self) -> Entry:
        """Return an entry without notes, which may be sent beside the others."""
        return Entry(self._sender, self._first)

    def farewell(self) -> Entry:
        """Return an entry after which nothing comes."""
        return Entry(self._sender, self._first, leaves=True)

    def took(self, entry: Entry) -> None:
        """Forget what stands on the bus now; some of it may have been dropped meanwhile."""
        self.sent += len(entry.notes)
        while self._notes and self._first < entry.following:
            self._pop()

    async def wait(self) -> None:
        """Wait until there are notes."""
        if not self._notes:
            self._news = trio.Event()
            await self._news.wait()

    def _pop(self) -> None:
        self._bytes -= len(self._notes.popleft()) + NOTE_BYTES
        self._first += 1
