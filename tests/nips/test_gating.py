"""No event ever reaches a key that may not read it, and all that may be read arrives, whatever is asked, and how.

Real events, real keys and the real door; judged by the twins in `tests.support.oracles`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any, Final, NamedTuple

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.backends import Backend
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.marks import examples
from tests.support.named_relay import AuthClient, open_client, open_named, rules_for
from tests.support.oracles import naive_match, naive_may_read, naive_query
from tests.support.receiving import NOTHING
from trio_relay import Event
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.negentropy.protocol import initiate, reconcile

PEOPLE: Final = [ALICE, BOB, CAROL, Author("dave")]
RANDOM: Final = Author("signs wraps")
KINDS: Final = [1, 4, 7, 1_059, 21_059]
LAST: Final = Author("says that all has been said").event(kind=9)

people = st.lists(st.sampled_from(PEOPLE), max_size=3, unique=True)
names = people.map(lambda chosen: [one.pubkey for one in chosen])


class Client(NamedTuple):
    """Keys that authenticate before a REQ and while it is open, and what it asks for."""

    before: list[Author]
    later: list[Author]
    request: list[dict[str, Any]]


class Scene(NamedTuple):
    """What is stored and what comes live, and who looks."""

    private: list[int]
    stored: list[Event]
    live: list[Event]
    clients: list[Client]


@st.composite
def messages(draw: st.DrawFn, number: int) -> Event:
    kind = draw(st.sampled_from(KINDS))
    wrapped = kind in (1_059, 21_059)
    named = draw(people.filter(bool) if wrapped else people)
    author = draw(st.sampled_from([RANDOM, *PEOPLE] if wrapped else PEOPLE))
    tags = [[draw(st.sampled_from("pppP" if number % 2 else "p")), one.pubkey] for one in named]
    if wrapped and not any(tag[0] == "p" for tag in tags):
        tags[0][0] = "p"
    return author.event(str(number), kind=kind, created_at=NOW + draw(st.integers(0, 3)), tags=tags)


@st.composite
def questions(draw: st.DrawFn, known: Sequence[Event]) -> dict[str, Any]:
    """Filters of few keys each: those that match much are the ones that could let something out."""
    ids = [event.id for event in known]
    parts = {
        "ids": st.lists(st.sampled_from(ids), min_size=1, max_size=8),
        "kinds": st.lists(st.sampled_from(KINDS), max_size=3),
        "authors": st.lists(st.sampled_from([RANDOM.pubkey, *(one.pubkey for one in PEOPLE)]), min_size=1, max_size=3),
        "#p": names.filter(bool),
        "since": st.integers(NOW, NOW + 3),
        "until": st.integers(NOW, NOW + 3),
        "limit": st.integers(0, 6),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(parts)), max_size=2, unique=True))
    return {name: draw(parts[name]) for name in chosen}


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    events = [draw(messages(number)) for number in range(draw(st.integers(1, 14)))]
    cut = draw(st.integers(0, len(events)))
    request = st.lists(questions(events), min_size=1, max_size=3)
    clients = draw(st.lists(st.builds(Client, people, people, request), min_size=1, max_size=3))
    private = draw(st.sampled_from([[4, 1_059, 21_059], [4, 7, 1_059, 21_059], [1_059, 21_059]]))
    return Scene(private, [event for event in events[:cut] if event.kind != 21_059], events[cut:], clients)


class Look:
    """One client's look at the scene; `known` is all that it could ever be told."""

    def __init__(self, identity: AuthClient, client: Client, scene: Scene) -> None:
        self.identity = identity
        self.client = client
        self.scene = scene
        self.filters = list(map(parse_filter, client.request))
        self.keys = [key.pubkey for key in client.before]
        self.is_open = False

    def readable(self, events: Sequence[Event]) -> list[Event]:
        return [event for event in events if naive_may_read(event, self.keys, self.scene.private)]

    def check_refusal(self, reason: str, filters: Sequence[Filter]) -> None:
        """Refused is who asks for nothing but private events, without a key or naming others than his keys alone."""
        assert all(filter_.kinds and set(filter_.kinds) <= set(self.scene.private) for filter_ in filters)
        if not self.keys:
            assert reason == "auth-required: private events are served to their authors and recipients only"
            return
        assert reason == "restricted: these events are for keys other than the authenticated ones"
        assert all(
            letter == "p" and values.isdisjoint(self.keys) for filter_ in filters for letter, values in filter_.tags
        )
        assert all(filter_.tags for filter_ in filters)

    async def receive(self) -> list[Any]:
        """The next message that is no reminder of the challenge."""
        while (message := await self.identity.receive())[0] == "AUTH":
            assert message == ["AUTH", self.identity.challenge]
        return message

    async def subscribe(self, sub_id: str, stored: Sequence[Event]) -> bool:
        """Send the REQ, and see that its answer is right; False if it was refused."""
        await self.identity.send("REQ", sub_id, *self.client.request)
        found = []
        while (message := await self.receive())[0] == "EVENT":
            found.append(message[2]["id"])
        if message[0] == "CLOSED":
            self.check_refusal(message[2], self.filters)
            return False
        assert message[:2] == ["EOSE", sub_id]
        assert found == [event.id for event in naive_query(self.filters, self.readable(stored))]
        return True

    async def begin(self) -> None:
        for key in self.client.before:
            assert await self.identity.authenticate(key) == [True, ""]
        self.is_open = await self.subscribe("sub", self.scene.stored)
        await self.identity.send("REQ", "last", {"ids": [LAST.id]})
        assert (await self.receive())[:2] == ["EOSE", "last"]
        for key in self.client.later:
            assert await self.identity.authenticate(key) == [True, ""]
        self.keys += [key.pubkey for key in self.client.later]

    async def hear(self) -> None:
        """See that the live events were the right ones, up to the last."""
        heard: list[str] = []
        sub_id = ""
        while sub_id != "last":
            verb, sub_id, event = await self.receive()
            assert verb == "EVENT"
            heard.append(event["id"])
        # The last may come to "sub" too, and after that.
        await self.identity.send("REQ", "end", {"limit": 0})
        while (message := await self.receive())[0] == "EVENT":
            heard.append(message[2]["id"])
        assert message == ["EOSE", "end"]
        matching = [event for event in self.scene.live if any(naive_match(filter_, event) for filter_ in self.filters)]
        expected = [event.id for event in self.readable(matching)] if self.is_open else []
        assert [event_id for event_id in heard if event_id != LAST.id] == expected

    async def count(self, stored: Sequence[Event]) -> None:
        await self.identity.send("COUNT", "count", *self.client.request)
        message = await self.receive()
        if message[0] == "CLOSED":
            self.check_refusal(message[2], self.filters)
        else:
            unlimited = [replace(filter_, limit=None) for filter_ in self.filters]
            number = len(naive_query(unlimited, self.readable(stored)))
            assert message == ["COUNT", "count", {"count": number}]

    async def sync(self, place: int, stored: Sequence[Event]) -> None:
        """Learn the ids of one filter's set by a sync of nothing with it."""
        await self.identity.send("NEG-OPEN", "sync", self.client.request[place], initiate(NOTHING).hex())
        message = await self.receive()
        if message[0] == "NEG-ERR":
            self.check_refusal(message[2], [self.filters[place]])
            return
        step = reconcile(NOTHING, bytes.fromhex(message[2]))
        assert step.message is None  # the set is small enough for one list of ids
        expected = naive_query([self.filters[place]], self.readable(stored))
        assert sorted(event_id.hex() for event_id in step.need) == sorted(event.id for event in expected)
        await self.identity.send("NEG-CLOSE", "sync")


async def play(scene: Scene, backend: Backend) -> None:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(backend.open())
        await store.save_many(scene.stored)
        rules = rules_for(private_kinds=tuple(scene.private))
        door = await stack.enter_async_context(open_named(store, rules))
        publisher = await stack.enter_async_context(open_client(door))
        looks = [Look(await stack.enter_async_context(open_client(door)), client, scene) for client in scene.clients]
        for look in looks:
            await look.begin()
        for event in [*scene.live, LAST]:
            assert await publisher.publish(event) == [True, ""]
        stored = [*scene.stored, *(event for event in scene.live if event.kind != 21_059), LAST]
        for look in looks:
            await look.hear()
            await look.subscribe("again", stored)
            await look.count(stored)
            for place in range(len(look.filters)):
                await look.sync(place, stored)


@pytest.mark.slow
def test_no_event_reaches_who_may_not_read_it_and_all_others_arrive(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples // 2))
    @given(scenes())
    def look(scene: Scene) -> None:
        async def main() -> None:
            with trio.fail_after(60):
                await play(scene, backend)

        trio.run(main)

    look()
