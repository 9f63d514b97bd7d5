"""A bus in memory for several relays of one process: the real members over a stream that fails as it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from trio_relay.bus import Heard, Note, StreamAway, StreamBus, StreamLine

READ_SECONDS = 1.0
"""How long a reader waits for an entry, as in `trio_relay.bus.stream`."""
ANSWER_SECONDS = 3.0
"""After which a command is given up; it is carried out all the same."""


class LocalBus:
    """What Redis is to relays on machines of their own. All switches act at once."""

    def __init__(self) -> None:
        self.lag = 0.0
        """Seconds that each command takes; from `ANSWER_SECONDS` on its answer comes too late."""
        self.comes_twice = False
        """Whether entries come twice, as they do if a command was given up, repeated, and carried out twice."""
        self.swallowed = 0
        """So many appends from now on are carried out, but their answers get lost."""
        self.is_gone = False
        """Whether nobody gets an answer."""
        self.entries: list[tuple[int, bytes]] = []
        """What is there, with its places."""
        self.changed = trio.Event()
        """Set, and replaced by another one, when something comes, or somebody is cut off."""
        self._last = 1_000
        self._cut: set[StreamBus] = set()
        self._stale: dict[StreamBus, int] = {}

    def join(self, max_entries: int = 1_000, max_bytes: int = 2**24, waiting_bytes: int = 2**24) -> StreamBus:
        """Return one more member, for one relay; it takes part while its `listen` runs."""
        stream = _Access(self)
        stream.member = StreamBus(stream, max_entries, max_bytes, waiting_bytes)
        return stream.member

    def cut_off(self, member: StreamBus) -> None:
        """Let this member reach nobody."""
        self._cut.add(member)
        self._wake()

    def mend(self, member: StreamBus) -> None:
        """Let this member reach the others again."""
        self._cut.discard(member)

    def lose(self, count: int) -> None:
        """Lose the newest entries, as a failover to a replica does that did not have them yet."""
        del self.entries[max(0, len(self.entries) - count) :]

    def trim(self, keep: int) -> None:
        """Forget all but the newest."""
        del self.entries[: max(0, len(self.entries) - keep)]

    def empty(self, step_back: int = 0) -> None:
        """Forget everything; the next place is so much before the last one, as on a server whose clock is behind."""
        self.entries.clear()
        self._last -= step_back

    def add(self, entry: bytes) -> int:
        """Put something on the stream, as a stranger may, and return its place."""
        for _ in range(1 + self.comes_twice):
            self._last += 1
            self.entries.append((self._last, entry))
        self._wake()
        return self._last

    @contextmanager
    def stale(self, member: StreamBus) -> Iterator[None]:
        """Let this member read from what was there until now, as on a server that is cut off from the others."""
        self._stale[member] = self._last
        yield
        del self._stale[member]
        self._wake()

    def page(self, member: StreamBus, after: int, most: int) -> list[tuple[int, bytes]]:
        """Return the next entries that this member sees."""
        newest = self._stale.get(member, self._last)
        return [entry for entry in self.entries if after < entry[0] <= newest][:most]

    def reaches(self, member: StreamBus) -> bool:
        """True if the member gets answers."""
        return not self.is_gone and member not in self._cut

    def _wake(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class _Access:
    """One member's way to the stream, which is its own connection too."""

    member: StreamBus

    def __init__(self, bus: LocalBus) -> None:
        self._bus = bus

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[StreamLine]:
        self._check()
        yield self

    async def append(self, entry: bytes, keep: int) -> str:
        self._check()
        if self._bus.lag < ANSWER_SECONDS:
            await trio.sleep(self._bus.lag)
            self._check()
        position = self._bus.add(entry)
        self._bus.trim(keep)
        await self._answer()
        if self._bus.swallowed:
            self._bus.swallowed -= 1
            raise StreamAway("the answer got lost")
        return str(position)

    async def read(self, after: str, most: int) -> list[tuple[str, bytes]]:
        page: list[tuple[int, bytes]] = []
        with trio.move_on_after(READ_SECONDS):
            while not page:
                changed = self._bus.changed
                self._check()
                page = self._bus.page(self.member, int(after), most)
                if not page:
                    await changed.wait()
        await self._answer()
        return [(str(position), entry) for position, entry in page]

    async def holds(self, position: str) -> bool:
        await self._answer()
        return any(entry[0] == int(position) for entry in self._bus.entries)

    async def _answer(self) -> None:
        await trio.sleep(min(self._bus.lag, ANSWER_SECONDS))
        self._check()
        if self._bus.lag >= ANSWER_SECONDS:
            raise StreamAway("no answer in time")

    def _check(self) -> None:
        if not self._bus.reaches(self.member):
            raise StreamAway("cut off")


class Ear:
    """Takes what a member hears, and lets tests wait for it."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self._changed = trio.Event()

    async def take(self, heard: Heard) -> None:
        """Remember this."""
        self.heard.append(heard)
        self._changed.set()
        self._changed = trio.Event()

    @property
    def notes(self) -> list[bytes]:
        """The payloads that were heard."""
        return [heard.payload for heard in self.heard if isinstance(heard, Note)]

    @property
    def gaps(self) -> list[str]:
        """The reasons of the gaps that were heard."""
        return [heard.reason for heard in self.heard if not isinstance(heard, Note)]

    async def notes_are(self, count: int) -> list[bytes]:
        """Wait until so many notes were heard, and return them."""
        while len(self.notes) < count:
            await self.more()
        return self.notes

    async def gap(self, count: int = 1) -> None:
        """Wait until so many gaps were heard."""
        while len(self.gaps) < count:
            await self.more()

    async def more(self) -> None:
        """Wait until anything more was heard."""
        await self._changed.wait()
