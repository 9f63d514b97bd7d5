"""A whole relay on a memory listener, and clients that can authenticate: what the tests of NIPs share."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.support.keys import Author
from tests.support.server import Door, MemoryListener, Talker
from trio_relay import Endpoints, NetOptions, RelayInfo, RelayOptions, Server, open_relay
from trio_relay.net.admin.api import AdminApi
from trio_relay.nostr.event import Event
from trio_relay.nostr.limits import Limits
from trio_relay.pipeline.sync_sets import SyncOptions
from trio_relay.policy.options import MemberOptions, PolicyOptions
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Store

URL = "wss://relay.example/"


def rules_for(
    *,
    url: str = URL,
    limits: Limits | None = None,
    info: RelayInfo | None = None,
    members: MemberOptions | None = None,
    has_search: bool = True,
    has_sync: bool = True,
    **policy: Any,
) -> Rules:
    """Rules of a relay that has a name; `policy` are the fields of `PolicyOptions`."""
    return Rules(
        limits or Limits(),
        PolicyOptions(**policy),
        members or MemberOptions(),
        info or RelayInfo(url=url),
        url,
        has_search=has_search,
        has_sync=has_sync,
    )


@asynccontextmanager
async def open_door(
    store: Store,
    rules: Rules | None = None,
    *,
    clock: Callable[[], float] = time.time,
    sync: SyncOptions | None = None,
    options: RelayOptions | None = None,
    net: NetOptions | None = None,
) -> AsyncIterator[Door]:
    """A relay on this store, named `URL` unless `rules` say otherwise; leaving stops it as the first signal does."""
    async with open_relay(store, options, rules=rules or rules_for(), sync=sync, clock=clock) as relay:
        server = Server(relay, Endpoints(relay.document, relay.check, "hello\n", AdminApi(relay)), net or NetOptions())
        listener, stop = MemoryListener(), trio.Event()
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve, [listener], stop)
            yield Door(relay, server, listener, stop)
            stop.set()


@asynccontextmanager
async def open_client(door: Door, *keys: Author) -> AsyncIterator[Visitor]:
    """A client that has authenticated these keys, one after the other."""
    async with door.client() as talker:
        identity = Visitor(talker, door.relay.now)
        verb, identity.challenge = await talker.receive()
        assert verb == "AUTH"
        for key in keys:
            assert await identity.authenticate(key) == [True, ""]
        yield identity


class Visitor:
    """A client of a relay that has a name: it was sent a challenge when it connected."""

    def __init__(self, talker: Talker, now: Callable[[], int]) -> None:
        self.talker = talker
        self.now = now
        """The relay's own clock: what it makes of an AUTH event must not depend on when a test runs."""
        self.challenge = ""
        self.send = talker.send
        self.receive = talker.receive

    async def authenticate(
        self, key: Author, *, url: str = URL, challenge: str | None = None, **fields: Any
    ) -> list[Any]:
        """Send AUTH, and give the last two items of its OK."""
        fields = {"created_at": self.now()} | fields
        event = auth_event(key, self.challenge if challenge is None else challenge, url, **fields)
        await self.send("AUTH", event)
        verb, event_id, *answer = await self.receive()
        assert (verb, event_id) == ("OK", event.id)
        return answer

    async def publish(self, event: Event) -> list[Any]:
        """Send an event, and give the last two items of its OK; a challenge before it is skipped."""
        await self.send("EVENT", event)
        while (message := await self.receive())[0] != "OK":
            assert message == ["AUTH", self.challenge]
        assert message[1] == event.id
        return message[2:]

    async def ask(self, *filters: dict[str, Any], sub_id: str = "sub") -> list[str]:
        """The ids of what a REQ finds up to EOSE; the subscription is closed then."""
        await self.send("REQ", sub_id, *filters)
        found = []
        while (message := await self.receive())[0] == "EVENT":
            found.append(message[2]["id"])
        assert message[:2] == ["EOSE", sub_id], message
        await self.send("CLOSE", sub_id)
        return found

    async def ask_refused(self, *filters: dict[str, Any], verb: str = "REQ", sub_id: str = "sub") -> str:
        """Why a REQ or COUNT is refused; a challenge before that is skipped."""
        await self.send(verb, sub_id, *filters)
        while (message := await self.receive())[0] == "AUTH":
            assert message == ["AUTH", self.challenge]
        assert message[:2] == ["CLOSED", sub_id], message
        reason: str = message[2]
        return reason

    async def count(self, *filters: dict[str, Any], sub_id: str = "count") -> dict[str, Any]:
        """What a COUNT is answered."""
        await self.send("COUNT", sub_id, *filters)
        verb, answered, told = await self.receive()
        assert (verb, answered) == ("COUNT", sub_id)
        found: dict[str, Any] = told
        return found


def auth_event(
    key: Author, challenge: str, url: str = URL, *, kind: int = 22_242, created_at: int | None = None
) -> Event:
    """What a client answers a challenge with (NIP-42)."""
    tags = [["relay", url], ["challenge", challenge]]
    return key.event(kind=kind, created_at=int(time.time()) if created_at is None else created_at, tags=tags)
