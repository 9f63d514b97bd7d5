"""A relay with members: what the tests of NIP-43 share."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.support.backends import ask
from tests.support.keys import Author
from tests.support.named_relay import AuthClient, open_client, open_named, rules_for
from tests.support.server import Door
from trio_relay import Event, Filter, MemberOptions, RelayInfo, Rules, Store
from trio_relay.nostr import schnorr

NOW = int(time.time())
"""Where the relay's clock stands, also long after the tests have begun."""
ADMIN = Author("admin")
MEMBERS, ADDED, REMOVED, ROLES, JOIN, INVITE, LEAVE = 13_534, 8_000, 8_001, 33_534, 28_934, 28_935, 28_936
OPEN = MemberOptions(enabled=True, claims=("sesame", "please"))
REFUSED = [False, "restricted: this code lets nobody in, or not any more"]


class Clock:
    """The relay's clock, set by hand."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def member_rules(members: MemberOptions = OPEN, **policy: Any) -> Rules:
    """Rules of a relay with an admin that is called club and takes two codes."""
    return rules_for(members=members, info=RelayInfo(name="club"), admins=(ADMIN.pubkey,), **policy)


@asynccontextmanager
async def open_door(store: Store, rules: Rules | None = None, clock: Clock | None = None) -> AsyncIterator[Door]:
    """A relay with members; its clock stands at `NOW` unless there is another."""
    async with open_named(store, rules or member_rules(), clock=clock or Clock()) as door:
        yield door


def join(author: Author, claim: str | None = "sesame", *, at: int = NOW, is_protected: bool = True) -> Event:
    """A request to join."""
    tags = [["-"]] if is_protected else []
    return author.event(kind=JOIN, created_at=at, tags=tags if claim is None else [*tags, ["claim", claim]])


def leave(author: Author, *, at: int = NOW) -> Event:
    """A request to leave."""
    return author.event(kind=LEAVE, created_at=at, tags=[["-"]])


async def joined(door: Door, author: Author, claim: str = "sesame") -> None:
    """Let somebody join."""
    async with open_client(door, author) as client:
        assert await client.publish(join(author, claim)) == [True, "info: welcome to club"]


async def invited(client: AuthClient, one: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The events of an answer."""
    found = await client.talker.ask("invite", {"kinds": [INVITE]} if one is None else one)
    await client.send("CLOSE", "invite")
    return found


async def told(client: AuthClient, count: int) -> list[tuple[int, list[list[str]]]]:
    """Kinds and tags of the next events, whose order does not matter, of the relay's own key each."""
    found = [(await client.receive())[2] for _ in range(count)]
    signer = found[0]["pubkey"]
    events = [Event(**item) for item in found]
    assert {event.pubkey for event in events} == {signer}
    assert list(schnorr.open_backend().verify(events)) == [True] * count
    return sorted((event.kind, event.tags) for event in events)


async def published(store: Store, door: Door, *kinds: int) -> list[Event]:
    """What the relay has published, the newest first."""
    return await ask(store, Filter(authors=frozenset({door.relay.rules.signer}), kinds=frozenset(kinds)))


async def stored_soon(store: Store, door: Door, kind: int, tags: Sequence[list[list[str]]]) -> None:
    """Wait until these are the tags of what the relay has published of a kind."""
    with trio.fail_after(20):
        while True:
            if [event.tags for event in await published(store, door, kind)] == list(tags):
                return
            await trio.sleep(0.01)


def listed(*keys: Author | tuple[Author, str]) -> list[list[str]]:
    """The tags of a list of members."""
    return [
        ["-"],
        *(["member", key[0].pubkey, key[1]] if isinstance(key, tuple) else ["member", key.pubkey] for key in keys),
    ]
