"""pynostr: a manager for each request, as its examples have it; it has no way to authenticate."""

from __future__ import annotations

import asyncio
from typing import Any

from pynostr.event import Event
from pynostr.filters import Filters, FiltersList
from pynostr.relay_manager import RelayManager

from tests.clients.python.driver import SECRET, URL, arrived, drive, found


def _filters(query: dict[str, Any]) -> FiltersList:
    """Its own form of a filter."""
    filters = Filters(**{key: query[key] for key in ("ids", "authors", "kinds", "limit") if key in query})
    for key, values in query.items():
        if key.startswith("#"):
            filters.add_arbitrary_tag(key[1:], values)
    return FiltersList([filters])


class Connection:
    """A manager with one relay, and a sign of each message that has come."""

    def __init__(self, *, close_on_eose: bool, timeout: float = 6) -> None:
        self.manager = RelayManager(timeout=timeout)
        self.pool = self.manager.message_pool
        self._came = asyncio.Event()
        self.manager.add_relay(
            URL, close_on_eose=close_on_eose, timeout=timeout, message_callback=lambda _: self._came.set()
        )

    async def run(self) -> None:
        """Connect, and end when the library says so."""
        await self.manager.prepare_relays()

    async def next(self) -> None:
        """Wait for a message; it is in the pool then."""
        await self._came.wait()
        self._came.clear()


class Client:
    """Connections that live on this loop."""

    async def publish(self, event: dict[str, Any]) -> None:
        """Wait for the verdict."""
        connection = Connection(close_on_eose=False)
        connection.manager.publish_event(Event.from_dict(event))
        task = asyncio.ensure_future(connection.run())
        while not connection.pool.has_ok_notices():
            await connection.next()
        verdict = connection.pool.get_ok_notice()
        connection.manager.close_connections()
        await task
        if not verdict.ok:
            raise RuntimeError(verdict.message)

    async def fetch(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """What is stored."""
        if "search" in query:
            raise NotImplementedError("its filters have no search")
        connection = Connection(close_on_eose=True)
        connection.manager.add_subscription_on_all_relays("fetch", _filters(query))
        await connection.run()
        if not connection.pool.has_eose_notices():
            raise TimeoutError("no EOSE")
        messages = connection.pool.get_all_events()
        return found((message.event.id, len(message.event.tags)) for message in messages)

    async def subscribe(self, query: dict[str, Any]) -> None:
        """What comes from now on."""
        connection = Connection(close_on_eose=False, timeout=0)
        connection.manager.add_subscription_on_all_relays("live", _filters(query))
        self._connected = asyncio.ensure_future(connection.run())
        while not connection.pool.has_eose_notices():
            await connection.next()
        self._following = asyncio.create_task(self._follow(connection))

    async def _follow(self, connection: Connection) -> None:
        while True:
            for message in connection.pool.get_all_events():
                arrived(message.event.id)
            await connection.next()


async def main() -> None:
    """Until there are no more commands."""
    await drive(object() if SECRET else Client())


asyncio.run(main())
