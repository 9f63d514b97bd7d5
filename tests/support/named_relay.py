"""A whole relay on a memory listener, and clients that can authenticate: what the tests of NIPs share."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.support.keys import Author
from tests.support.server import Door, Talker, open_door
from trio_relay import Event, Limits, MemberOptions, PolicyOptions, RateOptions, RelayInfo, Rules, Store

URL = "wss://relay.example/"


def rules_for(
    *,
    url: str = URL,
    limits: Limits | None = None,
    info: RelayInfo | None = None,
    members: MemberOptions | None = None,
    has_search: bool = True,
    has_sync: bool = True,
    rates: RateOptions | None = None,
    **policy: Any,
) -> Rules:
    """Rules of a relay that has a name; `policy` are the fields of `PolicyOptions`.

    Clients get their challenge when they connect unless `challenge` says otherwise, so that `open_client` has it.
    """
    policy = {"challenge": "connect"} | policy
    return Rules(
        limits or Limits(),
        PolicyOptions(**policy),
        members or MemberOptions(),
        info or RelayInfo(url=url),
        url,
        has_search=has_search,
        has_sync=has_sync,
        rates=rates or RateOptions(),
    )


@asynccontextmanager
async def open_named(
    store: Store, rules: Rules | None = None, *, clock: Callable[[], float] = time.time, **parts: Any
) -> AsyncIterator[Door]:
    """A relay on this store, named `URL` unless `rules` say otherwise, at the time of day; `parts`: see `open_door`."""
    async with open_door(store, rules or rules_for(), clock=clock, **parts) as door:
        yield door


@asynccontextmanager
async def open_client(door: Door, *keys: Author) -> AsyncIterator[AuthClient]:
    """A client that has authenticated these keys, one after the other."""
    async with door.client() as talker:
        client = AuthClient(talker, door.relay.now)
        verb, client.challenge = await talker.receive()
        assert verb == "AUTH"
        for key in keys:
            assert await client.authenticate(key) == [True, ""]
        yield client


class AuthClient:
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
