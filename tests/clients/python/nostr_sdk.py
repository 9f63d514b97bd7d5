"""nostr-sdk, of rust-nostr: with a key its authenticator answers challenges."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

from nostr_sdk import (  # type: ignore[import-untyped]  # ships no types
    ClientBuilder,
    Event,
    Filter,
    Keys,
    RelayUrl,
    ReqTarget,
    SignerAuthenticator,
    nostr_sdk,
)

from tests.clients.python.driver import SECRET, URL, arrived, drive, found

_PATIENCE = timedelta(seconds=8)


def _filter(query: dict[str, Any]) -> Filter:
    """Its own form of a filter."""
    if max(query.get("kinds", [0])) > 65_535:
        raise NotImplementedError("its kinds have 16 bits")
    return Filter.from_json(json.dumps(query))


class Client:
    """Its client, with one relay."""

    def __init__(self) -> None:
        builder = ClientBuilder()
        if SECRET:
            builder = builder.authenticator(SignerAuthenticator(Keys.parse(SECRET)))
        self._client = builder.build()
        self._url = RelayUrl.parse(URL)
        self._connected = asyncio.Event()
        self._tasks = [asyncio.create_task(self._connect())]

    async def _connect(self) -> None:
        await self._client.add_relay(self._url)
        await self._client.connect(_PATIENCE)
        self._connected.set()

    async def publish(self, event: dict[str, Any]) -> None:
        """Wait for the verdict."""
        await self._connected.wait()
        output = await self._client.send_event(Event.from_json(json.dumps(event)))
        for refusal in output.failed.values():
            raise RuntimeError(refusal)

    async def fetch(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        """What is stored."""
        await self._connected.wait()
        target = ReqTarget.auto([_filter(query)])
        events = await self._client.fetch_events(target, _PATIENCE)
        return found((event.id().to_hex(), len(event.tags())) for event in events)

    async def subscribe(self, query: dict[str, Any]) -> None:
        """What comes from now on."""
        await self._connected.wait()
        notifications = self._client.notifications()
        output = await self._client.subscribe(ReqTarget.auto([_filter(query)]))
        ready = asyncio.Event()
        self._tasks.append(asyncio.create_task(self._follow(notifications, output.id, ready)))
        await ready.wait()

    async def _follow(self, notifications: Any, sub_id: str, ready: asyncio.Event) -> None:
        while True:
            notification = await notifications.next()
            if notification.is_message():
                message = json.loads(notification.message.as_json())
                if message[0] == "EVENT":
                    arrived(message[2]["id"])
                elif message == ["EOSE", sub_id]:
                    ready.set()

    async def count(self, query: dict[str, Any]) -> int:
        """How many."""
        await self._connected.wait()
        relay = await self._client.relay(self._url)
        number: int = await relay.count_events(_filter(query), _PATIENCE)
        return number

    async def sync(self, query: dict[str, Any]) -> int:
        """How many events come by a sync."""
        await self._connected.wait()
        output = await self._client.sync(_filter(query), None, None)
        return len(output.report.received)


async def main() -> None:
    """Until there are no more commands."""
    nostr_sdk.uniffi_set_event_loop(asyncio.get_running_loop())
    await drive(Client())


asyncio.run(main())
