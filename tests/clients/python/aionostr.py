"""aionostr: one relay; with a key it answers challenges."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from aionostr.event import Event
from aionostr.relay import Manager

from tests.clients.python.driver import SECRET, URL, arrived, drive, found


class Client:
    """Its manager, with one relay."""

    def __init__(self) -> None:
        self._manager = Manager([URL], private_key=SECRET)
        self._connected = asyncio.Event()
        self._tasks = [asyncio.create_task(self._connect())]

    async def _connect(self) -> None:
        await self._manager.connect()
        await asyncio.sleep(0.2)  # it sends what authenticates on its own
        self._connected.set()

    async def publish(self, event: dict[str, Any]) -> None:
        """Its answer is an id, whatever the relay has said."""
        await self._connected.wait()
        done, _ = await self._manager.add_event(Event(**event), check_response=True)
        answered = {task.result() for task in done}
        if answered != {event["id"]}:
            raise RuntimeError(f"the answer is that of another event: {answered}")

    async def fetch(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """What is stored."""
        await self._connected.wait()
        return found([(event.id, len(event.tags)) async for event in self._manager.get_events(query)])

    async def subscribe(self, query: dict[str, Any]) -> None:
        """What comes from now on."""
        await self._connected.wait()
        queue = await self._manager.subscribe(secrets.token_hex(4), query)
        self._tasks.append(asyncio.create_task(self._follow(queue)))

    async def _follow(self, queue: asyncio.Queue[Event | None]) -> None:
        while True:
            event = await queue.get()
            if event is not None:
                arrived(event.id)


async def main() -> None:
    """Until there are no more commands."""
    await drive(Client())


asyncio.run(main())
