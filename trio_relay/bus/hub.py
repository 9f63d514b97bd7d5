"""Joins members that one process speaks for, and a bus that reaches further, if there is one.

    worker 1 ─┐
    worker 2 ─┼─ hub ─── Redis ─── relays elsewhere
    keeper   ─┘

What a member sends goes to all others here at once, and on; what comes from further goes to all. So one process of a
machine speaks with Redis. Notes of members here are heard elsewhere as those of one member, in the hub's order.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import Final

import trio

from trio_relay.bus.base import Bus, BusStatistics, Gap, Heard, Note, Take

MOST_UNHEARD: int = 8 * 2**20
"""Bytes of notes that wait for a member; not Final: tests set another."""
_NOTHING: Final = BusStatistics(0, 0, 0, 0, 0, 0, 0, 0)


class Hub:
    """The middle of it; `run` has to run while notes are to come from further.

    Args:
        further: this process's own member of another bus; None: nobody else is reached.
    """

    def __init__(self, further: Bus | None = None) -> None:
        self.further = further
        self._members: dict[HubMember, None] = {}
        self._names = count(1)
        self._positions = count(1)

    def join(self) -> HubMember:
        """A new member; `leave` at last."""
        member = HubMember(self, f"hub-{next(self._names)}")
        self._members[member] = None
        return member

    def leave(self, member: HubMember) -> None:
        """Let a member hear no more."""
        self._members.pop(member, None)

    def send(self, sender: HubMember, payload: bytes) -> None:
        """Have all others hear a note. For `HubMember`."""
        note = Note(sender.name, payload, str(next(self._positions)))
        for member in self._members:
            if member is not sender:
                member.put(note)
        if self.further is not None:
            self.further.send(payload)

    async def run(self) -> None:
        """Hear what comes from further, until cancelled."""
        if self.further is None:
            await trio.sleep_forever()
        else:
            await self.further.listen(self._take)

    async def _take(self, heard: Heard) -> None:
        for member in self._members:
            member.put(heard)


class HubMember:
    """A member of a hub, as a `Bus`; made by `Hub.join`."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.name = name
        self._hub = hub
        self._waiting: deque[Heard] = deque([Gap("started")])
        self._bytes = 0
        self._came = trio.Event()
        self._came.set()

    def send(self, note: bytes) -> None:
        self._hub.send(self, note)

    def put(self, heard: Heard) -> None:
        """Have this heard; a gap in its place, where too much waits. For `Hub`."""
        if isinstance(heard, Note):
            self._bytes += len(heard.payload)
            if self._bytes > MOST_UNHEARD:
                self._waiting.clear()
                self._bytes = 0
                heard = Gap("slow")
        self._waiting.append(heard)
        self._came.set()

    async def listen(self, take: Take) -> None:
        while True:
            await self._came.wait()
            self._came = trio.Event()
            while self._waiting:
                heard = self._waiting.popleft()
                if isinstance(heard, Note):
                    self._bytes -= len(heard.payload)
                await take(heard)

    @property
    def reaches_all(self) -> bool:
        return self._hub.further is not None

    @property
    def trouble(self) -> str | None:
        return None if self._hub.further is None else self._hub.further.trouble

    def statistics(self) -> BusStatistics:
        return _NOTHING if self._hub.further is None else self._hub.further.statistics()
