"""rust-nostr's client, which nobody here wrote, in a Trio test: its asyncio loop lives in a thread of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import trio
from nostr_sdk import (  # type: ignore[import-untyped]  # ships no types
    Client,
    ClientBuilder,
    Event,
    EventBuilder,
    Filter,
    Keys,
    Kind,
    NostrLmdb,
    RelayUrl,
    ReqTarget,
    SignerAuthenticator,
    SyncDirection,
    SyncOptions,
    Tag,
    Timestamp,
    nostr_sdk,
)

from tests.support.program import PATIENCE, Program

T = TypeVar("T")

_TIMEOUT: Final = timedelta(seconds=PATIENCE)
_SYNC_SECONDS: Final = 240.0
"""The library's database commits each event that comes by itself."""


def signed(
    keys: Keys, content: str, *, kind: int = 1, created_at: int, tags: tuple[tuple[str, ...], ...] = ()
) -> Event:
    """An event that rust-nostr makes and signs."""
    builder = EventBuilder(Kind(kind), content).tags([Tag.parse(list(tag)) for tag in tags])
    return builder.custom_created_at(Timestamp.from_secs(created_at)).finalize(keys)


class Loop:
    """An asyncio loop in a thread, on which coroutines run for Trio tasks."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self.started = trio.Event()

    def run(self) -> None:
        """Live until `stop`; blocks a thread."""
        asyncio.run(self._live())

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        nostr_sdk.uniffi_set_event_loop(self._loop)
        self._token.run_sync_soon(self.started.set)
        await self._stop.wait()
        nostr_sdk.uniffi_set_event_loop(None)

    def stop(self) -> None:
        """End the loop; what still runs on it is cancelled."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)

    async def wait(self, coroutine: Coroutine[Any, Any, T], seconds: float = PATIENCE) -> T:
        """Run this over there, and wait for it here."""
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        done = trio.Event()
        future.add_done_callback(lambda _: self._token.run_sync_soon(done.set))
        try:
            with trio.fail_after(seconds):
                await done.wait()
        finally:
            future.cancel()
        return future.result()


class NostrClient:
    """A connected client."""

    def __init__(self, loop: Loop, client: Client, url: RelayUrl) -> None:
        self._loop = loop
        self._client = client
        self._url = url
        self._notifications = client.notifications()

    async def publish(self, event: Event) -> str | None:
        """Why the relay refused the event, or None."""
        output = await self._loop.wait(self._client.send_event(event))
        refusal: str | None = output.failed.get(self._url)
        assert (refusal is None) == (output.success == [self._url])
        return refusal

    async def find(self, wanted: Filter) -> list[str]:
        """The contents of the stored events, in the order of the library."""
        events = await self._loop.wait(self._client.fetch_events(ReqTarget.auto([wanted]), _TIMEOUT))
        return [event.content() for event in events]

    async def count(self, wanted: Filter) -> int:
        """How many events the relay says it has."""
        relay = await self._loop.wait(self._client.relay(self._url))
        number: int = await self._loop.wait(relay.count_events(wanted, _TIMEOUT))
        return number

    async def sync(self, wanted: Filter) -> tuple[int, int]:
        """Send what the relay lacks of what a filter matches, and fetch what it has (NIP-77); how many of each."""
        both_ways = SyncOptions().direction(SyncDirection.BOTH)
        output = await self._loop.wait(self._client.sync(wanted, None, both_ways), _SYNC_SECONDS)
        assert (output.success, output.failed, output.report.send_failures) == ([self._url], {}, {self._url: []})
        return len(output.report.sent), len(output.report.received)

    async def subscribe(self, wanted: Filter) -> None:
        """Ask for live events; everything that is stored has come when this returns."""
        output = await self._loop.wait(self._client.subscribe(ReqTarget.auto([wanted])))
        while await self._message() != ["EOSE", output.id]:
            pass

    async def live_event(self) -> str:
        """The content of the next event that comes."""
        while (message := await self._message())[0] != "EVENT":
            pass
        content: str = message[2]["content"]
        return content

    async def _message(self) -> list[Any]:
        """The next message of the relay."""
        while not (notification := await self._loop.wait(self._notifications.next())).is_message():
            pass
        message: list[Any] = json.loads(notification.message.as_json())
        return message


@asynccontextmanager
async def nostr_loop() -> AsyncIterator[Loop]:
    """The loop that rust-nostr needs, for as long as the context lasts."""
    loop = Loop()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, loop.run)
        await loop.started.wait()
        try:
            yield loop
        finally:
            loop.stop()


class Database:
    """A client's own events, in a folder."""

    def __init__(self, loop: Loop, lmdb: NostrLmdb) -> None:
        self.lmdb = lmdb
        self._loop = loop

    @classmethod
    async def open(cls, loop: Loop, folder: Path) -> Database:
        """Make one."""
        return cls(loop, await loop.wait(NostrLmdb.open(str(folder))))

    async def put(self, events: Sequence[Event]) -> None:
        """Put events in: all at once, or there is a commit for each."""

        async def put_all() -> None:
            await asyncio.gather(*map(self.lmdb.save_event, events))

        await self._loop.wait(put_all())

    async def ids(self, wanted: Filter) -> set[str]:
        """The ids of what is in it and matches."""
        return {event.id().to_hex() for event in await self._loop.wait(self.lmdb.query(wanted))}


@asynccontextmanager
async def nostr_client(
    loop: Loop, program: Program, *, keys: Keys | None = None, database: Database | None = None
) -> AsyncIterator[NostrClient]:
    """A client that is connected to the program; with keys it authenticates when it is asked to (NIP-42)."""
    host, port = program.address
    url = RelayUrl.parse(f"ws://{host}:{port}")
    builder = ClientBuilder()
    if keys is not None:
        builder = builder.authenticator(SignerAuthenticator(keys))
    if database is not None:
        builder = builder.database(database.lmdb)
    client = builder.build()
    await loop.wait(client.add_relay(url))
    await loop.wait(client.connect(_TIMEOUT))
    try:
        yield NostrClient(loop, client, url)
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
            await loop.wait(client.shutdown())
