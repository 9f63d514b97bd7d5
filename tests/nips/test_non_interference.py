"""What an asker may not read changes none of the relay's answers to that asker, to the byte.

Two relays have the same events, the second one those besides that the asker may not read. Both are asked everything
that a client can ask, and told the same. (What a stored event does to others is another thing: a deletion deletes and a
version replaces, whoever may read it. Such events are left out of the second relay, too.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.backends import Backend
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.marks import examples
from tests.support.named_relay import URL, AuthClient, open_client, open_named, rules_for
from tests.support.oracles import naive_may_read
from tests.support.readers import reading
from tests.support.server import Door
from tests.support.syncing import FIRST
from tests.support.wire import open_stream
from trio_relay import Event, Limits, RelayInfo, Store
from trio_relay.nostr.event import address_of
from trio_relay.trends import describe, read_trends

AUTHORS: Final = [ALICE, BOB, CAROL, Author("dave")]
MADE_PRIVATE: Final = [0, 1, 3, 5, 6, 7, 1_111, 1_984, 9_735, 10_002, 30_023]
KINDS: Final = [*MADE_PRIVATE, 1, 1, 7, 7, 4, 1_059]
_ASKED: Final = 25
"""Of the questions, in one example."""
_MOST_EXAMPLES: Final = 40
TEXTS: Final = ["tea", "tea cake", "tea tea tea", "a cake with many more words than all of the others", "teatime", ""]
EVEN_TEXTS: Final = ["tea with milk", "cake with milk", "teatime with cake"]
"""As long as each other: what was deleted from an index before goes on counting for its relevance for a while."""
LAST: Final = ALICE.event("tea, the last", kind=40, created_at=NOW + 50)
"""Of a kind that is never private here."""


@dataclass(frozen=True)
class World:
    """Who asks what kind of relay, and the events: those that are stored, and those that come while it is asked.

    `chosen` are the places of the questions that are asked, in the list of all.
    """

    keys: list[Author]
    private: frozenset[int]
    stored: list[Event]
    coming: list[Event]
    chosen: list[int]

    @property
    def pubkeys(self) -> list[str]:
        return [key.pubkey for key in self.keys]

    def may_read(self, event: Event) -> bool:
        return naive_may_read(event, self.pubkeys, self.private)


@st.composite
def worlds(draw: st.DrawFn, texts: Sequence[str]) -> World:
    keys = draw(st.lists(st.sampled_from(AUTHORS), max_size=2, unique=True))
    private = reading(also=draw(st.frozensets(st.sampled_from(MADE_PRIVATE), max_size=5))).private_kinds
    made: list[Event] = []
    for _ in range(draw(st.integers(3, 25))):
        made.append(draw(events(made, texts)))
    at = draw(st.integers(1, len(made)))
    chosen = draw(st.lists(st.integers(0, 999), min_size=_ASKED, max_size=_ASKED))
    return without_effects(World(keys, private, made[:at], made[at:], chosen))


@st.composite
def events(draw: st.DrawFn, known: list[Event], texts: Sequence[str]) -> Event:
    kind, author = draw(st.sampled_from(KINDS)), draw(st.sampled_from(AUTHORS))
    content = draw(st.sampled_from(["+", "-", ""] if kind == 7 else texts))
    if kind == 0:
        content = json.dumps({"name": content, "nip05": draw(st.sampled_from(["x@sea.example", "x@sky.example"]))})
    targets = draw(st.lists(st.sampled_from(known), max_size=2)) if known else []
    names = draw(st.lists(st.sampled_from(AUTHORS), min_size=kind == 1_059, max_size=2, unique=True))
    tags = [[draw(st.sampled_from(["e", "e", "E", "q"])), target.id] for target in targets]
    tags += [["a", address] for target in targets if (address := address_of(target)) is not None]
    tags += [["p", name.pubkey] for name in names]
    tags += draw(st.lists(st.sampled_from([["t", "sea"], ["t", "nsfw"], ["l", "en", "ISO-639-1"]]), max_size=1))
    return author.event(content, kind=kind, created_at=NOW + draw(st.integers(0, 9)), tags=tags)


def without_effects(world: World) -> World:
    """The same without hidden events that delete or replace what the asker may read, or are older versions of it."""
    readable = [event for event in (*world.stored, *world.coming) if world.may_read(event)]
    named = {event.id for event in readable} | {address_of(event) for event in readable}

    def is_harmless(event: Event) -> bool:
        deleted = {tag[1] for tag in event.tags if tag[0] in ("e", "a")} if event.kind == 5 else set()
        address = address_of(event)
        return world.may_read(event) or not (deleted & named or (address is not None and address in named))

    stored, coming = (list(filter(is_harmless, some)) for some in (world.stored, world.coming))
    return World(world.keys, world.private, stored, coming, world.chosen)


def rules_of(world: World) -> Any:
    return rules_for(
        private_kinds=tuple(world.private),
        limits=Limits(default_limit=3, max_limit=6),
        info=RelayInfo(url=URL, eose_hints=True),
    )


def questions(world: World) -> list[list[dict[str, Any]]]:
    """Some of all questions."""
    every = list(all_questions(world))
    return [every[place % len(every)] for place in world.chosen]


def all_questions(world: World) -> Iterator[list[dict[str, Any]]]:
    """The filters of requests: of every kind, about everything that is there and that is not."""
    everything = [*world.stored, *world.coming]
    ids = [event.id for event in everything]
    names = [author.pubkey for author in AUTHORS]
    public = sorted({*KINDS} - world.private)
    yield [{}]
    yield [{"limit": 1}]
    yield [{"limit": 6, "until": NOW + 5}]
    yield [{"since": NOW + 2, "until": NOW + 7}]
    yield [{"ids": ids}]
    yield from ([{"ids": [one]}] for one in ids[:6])
    yield [{"authors": names}]
    yield from ([{"authors": [name]}] for name in names)
    yield [{"kinds": KINDS}]
    yield [{"kinds": public}]
    yield from ([{"kinds": [kind]}] for kind in sorted({*KINDS}))
    yield from ([{"kinds": [1, 4, 1_059], "#p": [name]}] for name in names)
    yield from ([{"#p": [name]}] for name in names)
    yield [{"kinds": [1, 7, 4], "authors": names[:2]}]
    yield [{"kinds": [4, 1_059], "#p": names}, {"kinds": public[:1]}]
    for target in ids[:4]:
        yield [{"#e": [target]}]
        yield from ([{"kinds": [kind], "#e": [target]}] for kind in (1, 6, 7))
        yield [{"kinds": [1, 1_111], "#q": [target]}]
        yield [{"kinds": [1_111], "#E": [target]}]
    yield [{"kinds": [3], "#p": names[:1]}]
    yield [{"#t": ["sea"]}, {"kinds": [1], "limit": 2}]
    for text in ("tea", "te", "tea cake", '"cake w', "-tea", "tea -cake", "language:en", "nsfw:false", "milk"):
        yield [{"search": text}]
        yield [{"search": text, "kinds": [1, 30_023], "limit": 2}]
    yield [{"search": "domain:sea.example"}]
    yield [{"search": "tea domain:sky.example", "kinds": [1]}]
    for sort in ("top", "hot", "rising", "controversial"):
        yield [{"search": f"sort:{sort}", "since": 0}]
        yield [{"search": f"tea sort:{sort}", "kinds": [1], "since": 0, "limit": 2}]
        yield [{"search": f"sort:{sort}", "kinds": [1, 1_111, 30_023]}]


class Transcript:
    """A client, and every text that it was sent.

    Args:
        client: the client.
        heard: the texts so far.
    """

    def __init__(self, client: AuthClient, heard: list[str]) -> None:
        self._client = client
        self._heard = heard
        self._numbers = count()

    async def until(self, *verbs: str) -> list[Any]:
        """Hear up to a message of one of these verbs."""
        while True:
            with trio.fail_after(60):
                text = str(await self._client.talker.connection.get_message())
            self._heard.append(text.replace(self._client.challenge, "a challenge"))
            message: list[Any] = json.loads(text)
            if message[0] in verbs:
                return message

    async def ask(self, filters: list[dict[str, Any]]) -> None:
        """Ask for the events, their number, and a sync with them."""
        name = f"{next(self._numbers)}"
        await self._client.send("REQ", name, *filters)
        if (await self.until("EOSE", "CLOSED"))[0] == "EOSE":
            await self._client.send("CLOSE", name)
        await self._client.send("COUNT", name, *filters)
        await self.until("COUNT", "CLOSED")
        await self._client.send("NEG-OPEN", name, filters[0], FIRST.hex())
        if (await self.until("NEG-MSG", "NEG-ERR"))[0] == "NEG-MSG":
            await self._client.send("NEG-CLOSE", name)

    async def publish(self, event: Event) -> None:
        """Send an event, which may be there already."""
        await self._client.send("EVENT", event)
        await self.until("OK")


async def answers(store: Store, world: World, *, has_hidden: bool) -> list[str]:
    """All that the asker hears of a relay, which has the hidden events or not."""
    heard: list[str] = []
    stored, coming = (
        [event for event in some if has_hidden or world.may_read(event)] for some in (world.stored, world.coming)
    )
    await store.save_many(stored)
    async with (
        open_named(store, rules_of(world), clock=lambda: NOW + 60) as door,
        open_client(door, *world.keys) as client,
        open_client(door) as publisher,
    ):
        asker = Transcript(client, heard)
        await over_http(door, heard)
        for filters in questions(world):
            await asker.ask(filters)
        await asker_hears_live(asker, client, publisher, coming)
        for filters in questions(world):
            await asker.ask(filters)
        for event in (*world.stored, *world.coming):
            await asker.publish(replace(event, sig="0" * 128))
        # A version that is replaced, or barred, is refused; so is what its author has deleted. Who has it may know.
        every = (*world.stored, *world.coming)
        deleted = {tag[1] for event in every if event.kind == 5 for tag in event.tags if tag[0] == "e"}
        for event in every:
            if world.may_read(event) or not (event.id in deleted or address_of(event) is not None):
                await asker.publish(event)
        await over_http(door, heard)
    return heard


async def asker_hears_live(
    asker: Transcript, client: AuthClient, publisher: AuthClient, coming: Sequence[Event]
) -> None:
    await client.send("REQ", "live", {"search": "tea", "limit": 0}, {"limit": 0})
    await asker.until("EOSE")
    for event in (*coming, LAST):
        await publisher.publish(event)
    while (await asker.until("EVENT"))[2]["id"] != LAST.id:
        pass
    await client.send("CLOSE", "live")


async def over_http(door: Door, heard: list[str]) -> None:
    for target, accept in (("/", "application/nostr+json"), ("/", "text/html"), ("/health", "*/*")):
        async with open_stream(door) as wire:
            reply = await wire.ask("GET", target, Accept=accept)
            headers = {name: text for name, text in reply.headers.items() if name != "date"}
            heard.append(f"{reply.status} {headers} {reply.body!r}")


async def trends_of(store: Store, world: World) -> list[object]:
    """What `trio-relay trends` shows, to anybody."""
    anybody = reading(also=world.private)
    own = getattr(store, "trends", None)
    window = NOW, NOW + 60, 10, anybody
    trends = await read_trends(store, *window) if own is None else await own(*window)
    return [trends, await describe(store, trends, anybody)]


@pytest.mark.slow
def test_what_an_asker_may_not_read_changes_no_answer(backend: Backend) -> None:
    @settings(max_examples=examples(min(backend.examples, _MOST_EXAMPLES)))
    @given(worlds(EVEN_TEXTS if backend.needs_node else TEXTS))
    def check(world: World) -> None:
        told: dict[bool, list[str]] = {}

        async def main(*, has_hidden: bool) -> None:
            async with backend.open() as store:
                told[has_hidden] = await answers(store, world, has_hidden=has_hidden)

        for has_hidden in (False, True):
            trio.run(partial(main, has_hidden=has_hidden))
        assert told[True] == told[False]

    check()


@pytest.mark.slow
def test_what_nobody_else_may_read_changes_no_trend(backend: Backend) -> None:
    @settings(max_examples=examples(min(backend.examples, _MOST_EXAMPLES)))
    @given(worlds(EVEN_TEXTS))
    def check(drawn: World) -> None:
        world = without_effects(World([], drawn.private, drawn.stored, [], []))
        told: list[list[object]] = []

        async def main(*, has_hidden: bool) -> None:
            async with backend.open() as store:
                await store.save_many([event for event in world.stored if has_hidden or world.may_read(event)])
                told.append(await trends_of(store, world))

        for has_hidden in (False, True):
            trio.run(partial(main, has_hidden=has_hidden))
        assert told[0] == told[1]

    check()
