"""The bus of a worker on a shared store: its keeper speaks for it, with other workers and with relays elsewhere."""

from __future__ import annotations

from typing import Final

import msgspec
import structlog
import trio

from trio_relay.bus import BusStatistics, Gap, Heard, Note, Take
from trio_relay.bus.hub import Hub
from trio_relay.link import Calls, Link, Tells

log = structlog.get_logger("trio_relay.workers")

MOST_UNTOLD: int = 8 * 2**20
"""Bytes that wait for the keeper, beyond which nothing is told; not Final: tests set another."""
_MOST_WAITING: Final = 2**20
"""Bytes that were told to a worker and not read; the rest waits in the hub."""
_LOOK_SECONDS: Final = 1.0


class Relayed(msgspec.Struct, array_like=True):
    """What was heard: a note, or a gap, which has no sender."""

    payload: bytes
    sender: str = ""
    position: str = ""
    reason: str = ""


class HubReach(msgspec.Struct, array_like=True):
    """How far the bus reaches now, see `Bus`."""

    reaches_all: bool
    trouble: str | None


_encode: Final = msgspec.msgpack.Encoder().encode
_relayed_of: Final = msgspec.msgpack.Decoder(Relayed).decode
_reach_of: Final = msgspec.msgpack.Decoder(HubReach).decode


class LinkedBus:
    """A worker's `Bus`, over its link to the keeper.

    Args:
        link: to the keeper, which runs with `tells`.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._take: Take | None = None
        self._listening = trio.Event()
        self._reach = HubReach(reaches_all=False, trouble=None)

    @property
    def tells(self) -> Tells:
        """What the link takes for this bus."""
        return {"heard": self._hear, "reach": self._learn_reach}

    def send(self, note: bytes) -> None:
        if self._link.waiting > MOST_UNTOLD:
            # The keeper stands still. Who looks into the index finds what this would have told, some seconds later.
            log.warning("a note is not told: the keeper does not read", bytes=len(note))
            return
        self._link.tell("note", note)

    async def listen(self, take: Take) -> None:
        self._take = take
        self._listening.set()
        await trio.sleep_forever()

    async def _hear(self, payload: bytes) -> None:
        await self._listening.wait()
        assert self._take is not None
        one = _relayed_of(payload)
        await self._take(Gap(one.reason) if one.reason else Note(one.sender, one.payload, one.position))

    async def _learn_reach(self, payload: bytes) -> None:
        self._reach = _reach_of(payload)

    @property
    def reaches_all(self) -> bool:
        return self._reach.reaches_all

    @property
    def trouble(self) -> str | None:
        return self._reach.trouble

    def statistics(self) -> BusStatistics:
        # The keeper's are those of the whole: a sum over workers would count a note more than once.
        return BusStatistics(0, 0, 0, 0, 0, 0, 0, 0)


class HubPlace:
    """A worker's place in the hub of its keeper.

    Args:
        hub: of the keeper.
        link: to the worker, which runs with `tells`.
    """

    newest = 0
    """A worker on a shared store reads by itself where it stands."""
    calls: Final[Calls] = {}

    def __init__(self, hub: Hub, link: Link) -> None:
        self._hub = hub
        self._link = link
        self._member = hub.join()

    @property
    def tells(self) -> Tells:
        """What the link takes for this place."""
        return {"note": self._send}

    async def _send(self, note: bytes) -> None:
        self._member.send(note)

    async def run(self) -> None:
        """Tell the worker what is heard, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._tell_reach)
            await self._member.listen(self._pass_on)

    def leave(self) -> None:
        """The worker has gone."""
        self._hub.leave(self._member)

    async def _pass_on(self, heard: Heard) -> None:
        await self._link.room(_MOST_WAITING)
        if isinstance(heard, Gap):
            told = Relayed(b"", reason=heard.reason)
        else:
            told = Relayed(heard.payload, heard.sender, heard.position)
        self._link.tell("heard", _encode(told))

    async def _tell_reach(self) -> None:
        told: HubReach | None = None
        while True:
            now = HubReach(self._member.reaches_all, self._member.trouble)
            if now != told:
                self._link.tell("reach", _encode(now))
                told = now
            await trio.sleep(_LOOK_SECONDS)
