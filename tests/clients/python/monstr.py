"""monstr: one client; with a key it answers challenges."""

from __future__ import annotations

import asyncio
from typing import Any

from monstr.client.client import Client as MonstrClient
from monstr.encrypt import Keys
from monstr.event.event import Event

from tests.clients.python.driver import SECRET, URL, arrived, drive, found


class Client:
    """Its client, which runs until the end, and the verdicts that it has heard."""

    def __init__(self) -> None:
        self._verdicts: dict[str, asyncio.Future[str]] = {}
        self._queries: list[dict[str, Any]] = []
        on_auth = self._on_auth if SECRET else None
        self._client = MonstrClient(URL, on_connect=self._on_connect, on_ok=self._on_ok, on_auth=on_auth)
        self._tasks = [asyncio.create_task(self._client.run())]

    def _on_connect(self, client: MonstrClient) -> None:
        """Subscribe on each connection, as its examples do."""
        for query in self._queries:
            client.subscribe(filters=query, handlers=[lambda _, __, event: arrived(event.id)])

    def _on_ok(self, _: MonstrClient, event_id: str, accepted: bool, reason: str) -> None:
        if event_id in self._verdicts:
            self._verdicts[event_id].set_result("" if accepted else reason)

    def _on_auth(self, client: MonstrClient, challenge: str) -> None:
        self._tasks.append(asyncio.create_task(client.auth(Keys(priv_k=SECRET), challenge)))

    async def publish(self, event: dict[str, Any]) -> None:
        """Wait for the verdict."""
        await self._client.wait_connect()
        verdict = self._verdicts[event["id"]] = asyncio.get_running_loop().create_future()
        self._client.publish(Event.load(event))
        if refusal := await verdict:
            raise RuntimeError(refusal)

    async def fetch(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """What is stored."""
        await self._client.wait_connect()
        events = await self._client.query(query, timeout=8)
        return found((event.id, len(event.tags.tags)) for event in events)

    async def subscribe(self, query: dict[str, Any]) -> None:
        """What comes from now on."""
        await self._client.wait_connect()
        self._queries.append(query)
        self._on_connect(self._client)
        await asyncio.sleep(0.5)  # it tells of no EOSE


async def main() -> None:
    """Until there are no more commands."""
    await drive(Client())


asyncio.run(main())
