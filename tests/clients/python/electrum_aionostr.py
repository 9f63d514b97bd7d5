"""electrum-aionostr: its manager; with a key it answers challenges."""

from __future__ import annotations

import asyncio
from typing import Any

from electrum_aionostr.event import Event
from electrum_aionostr.relay import Manager

from tests.clients.python.driver import SECRET, URL, arrived, drive, found


class Client:
    """Its manager, with one relay."""

    def __init__(self) -> None:
        self._connected = asyncio.Event()
        self._tasks = [asyncio.create_task(self._live())]

    async def _live(self) -> None:
        async with Manager([URL], private_key=SECRET) as self._manager:
            await asyncio.sleep(0.2)  # it sends what authenticates on its own
            self._connected.set()
            await asyncio.Event().wait()

    async def publish(self, event: dict[str, Any]) -> None:
        """Its answer is an id, whatever the relay has said."""
        await self._connected.wait()
        await self._manager.add_event(Event.from_json(event))

    async def fetch(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """What is stored."""
        await self._connected.wait()
        return found([(event.id, len(event.tags)) async for event in self._manager.get_events(query)])

    async def subscribe(self, query: dict[str, Any]) -> None:
        """What comes from now on."""
        await self._connected.wait()
        self._tasks.append(asyncio.create_task(self._follow(query)))
        await asyncio.sleep(0.5)  # it tells of no EOSE

    async def _follow(self, query: dict[str, Any]) -> None:
        async for event in self._manager.get_events(query, only_stored=False):
            arrived(event.id)


async def main() -> None:
    """Until there are no more commands."""
    await drive(Client())


asyncio.run(main())
