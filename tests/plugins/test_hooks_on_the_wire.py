"""What clients of a relay with hooks see."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.server import Door, open_door, plain
from trio_relay import Event, Filter, MemoryStore, Reject, Shadow, Source, open_hooks

pytestmark = pytest.mark.usefixtures("inline_threads")

FOLDER = Path(__file__).parents[2] / "config" / "hooks"
UNJUDGED = "error: the relay could not judge this; try again later"


@asynccontextmanager
async def relay_with(
    hooks: object, *stored: Event, options: dict[str, Any] | None = None, **how: Any
) -> AsyncIterator[Door]:
    """A relay that asks hooks; `how` are the arguments of `open_hooks`."""
    store = MemoryStore()
    await store.save_many(stored)
    async with (
        open_hooks(hooks, store, options=options, clock=lambda: NOW, **how) as judge,
        open_door(store, judges=judge.judges) as door,
    ):
        yield door


async def told(door: Door, event: Event) -> tuple[bool, str]:
    """What the sender of an event is told."""
    async with door.client() as client:
        _, event_id, *answer = await client.publish(event)
        assert event_id == event.id
        return answer[0], answer[1]


def spam_only(answer: object) -> SimpleNamespace:
    return SimpleNamespace(on_event=lambda event, _source: answer if event.content == "spam" else None)


async def test_an_event_that_is_refused_is_nowhere(autojump_clock: MockClock) -> None:
    async with relay_with(spam_only(Reject("no spam"))) as door, door.client() as reader:
        assert await reader.ask("live", {}) == []
        assert await told(door, ALICE.event("spam")) == (False, "blocked: no spam")
        assert await told(door, note := ALICE.event("a note")) == (True, "")
        assert await reader.receive() == ["EVENT", "live", plain(note)]
        assert await reader.ask("stored", {}) == [plain(note)]


async def test_a_shadow_is_seen_by_nobody(autojump_clock: MockClock) -> None:
    spam, ephemeral = ALICE.event("spam"), ALICE.event("spam", kind=20_001)
    async with relay_with(spam_only(Shadow())) as door, door.client() as reader, door.client() as sender:
        assert await reader.ask("live", {}) == []
        for event in (spam, ephemeral, spam):
            verb, event_id, accepted, reason = await sender.publish(event)
            assert (verb, event_id, accepted) == ("OK", event.id, True)
            assert reason in ("", "duplicate: already have this event")
        await reader.expect_silence()
        assert await sender.ask("own", {"authors": [ALICE.pubkey]}) == []
        assert await sender.ask("id", {"ids": [spam.id]}) == []
        assert await sender.count("count", {}) == 0


async def test_other_filters_are_answered(autojump_clock: MockClock) -> None:
    note, profile = ALICE.event("a note"), ALICE.event("{}", kind=0)

    def notes_only(filters: Sequence[Filter], _source: Source) -> list[Filter]:
        return [replace(one, kinds=frozenset({1})) for one in filters if one.kinds != frozenset({0})]

    async with relay_with(SimpleNamespace(on_filters=notes_only), note, profile) as door, door.client() as client:
        assert await client.ask("all", {}) == [plain(note)]
        assert await client.ask("none", {"kinds": [0]}) == []
        assert await client.count("many", {}) == 1
        live = BOB.event("live")
        assert await told(door, BOB.event("{}", kind=0)) == (True, "")
        assert await told(door, live) == (True, "")
        assert await client.receive() == ["EVENT", "all", plain(live)]
        await client.expect_silence()


async def test_filters_that_are_refused_are_closed(autojump_clock: MockClock) -> None:
    hooks = SimpleNamespace(on_filters=lambda _filters, _source: "ask less")
    async with relay_with(hooks) as door, door.client() as client:
        for verb in ("REQ", "COUNT"):
            await client.send(verb, "a", {})
            assert await client.receive() == ["CLOSED", "a", "blocked: ask less"]


async def test_a_connection_is_judged_too(autojump_clock: MockClock) -> None:
    async with relay_with(SimpleNamespace(on_connect=lambda _source: None)) as door:
        assert await told(door, ALICE.event()) == (True, "")


class Faulty:
    """Fails as events tell it to."""

    async def on_event(self, event: Event, _source: Source) -> object:
        if event.content == "raise":
            raise ValueError("a secret")
        if event.content == "sleep":
            await trio.sleep_forever()
        return 42 if event.content == "wrong" else None


@pytest.mark.parametrize("fault", ["raise", "sleep", "wrong"])
@pytest.mark.parametrize(("fail", "answer"), [("closed", (False, UNJUDGED)), ("open", (True, ""))])
async def test_a_hook_that_fails_hurts_nobody_else(
    fault: str, fail: str, answer: tuple[bool, str], logged: list[structlog.typing.EventDict], autojump_clock: MockClock
) -> None:
    async with relay_with(Faulty(), fail=fail, timeout_seconds=1) as door:
        assert await told(door, ALICE.event(fault)) == answer
        assert await told(door, ALICE.event("fine")) == (True, "")
    assert len([entry for entry in logged if entry.get("hook") == "Faulty.on_event"]) == 1


async def test_a_relay_stops_while_a_hook_ponders(autojump_clock: MockClock) -> None:
    began = trio.Event()

    async def ponder(_event: Event, _source: Source) -> None:
        began.set()
        await trio.sleep_forever()

    async with relay_with(SimpleNamespace(on_event=ponder), timeout_seconds=5) as door:
        async with door.client() as client:
            await client.send("EVENT", ALICE.event())
            await began.wait()
        stopped = trio.current_time()
    assert trio.current_time() - stopped <= 6


def follows(who: Author, *keys: Author) -> Event:
    return who.event(kind=3, tags=[["p", key.pubkey] for key in keys])


SPAM = "Our new offer is open to everybody: send one coin to this address and you get two coins back"
EXAMPLES: dict[str, tuple[dict[str, Any], list[Event], list[Event], str]] = {
    "word_list": ({"words": ["casino"]}, [], [ALICE.event("Casino!")], "blocked: a word of this event"),
    "rising_work": (
        {"comfortable": 0.25, "first_bits": 30, "most_bits": 30},
        [],
        [ALICE.event(str(number)) for number in range(3)],
        "pow: 30 bits are needed",
    ),
    "followed_by_followers": (
        {"owner": ALICE.pubkey, "least_followers": 1},
        [follows(BOB, ALICE)],
        [BOB.event("welcome"), CAROL.event("not")],
        "restricted: only people",
    ),
    "near_duplicates": (
        {"most_copies": 2},
        [],
        [key.event(f"{SPAM} {number}") for number, key in enumerate((ALICE, BOB, CAROL))],
        "blocked: this was said",
    ),
    "languages": (
        {"allowed": ["en"]},
        [],
        [ALICE.event(SPAM), ALICE.event("Das neue Angebot ist für alle offen, und niemand weiß, wie lange noch.")],
        "blocked: texts in this language (de)",
    ),
}
"""By name: options, what is stored, and events of which the last one is refused, and why."""


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
async def test_each_example_judges_what_clients_send(name: str, autojump_clock: MockClock) -> None:
    options, stored, events, reason = EXAMPLES[name]
    async with relay_with(str(FOLDER / f"{name}.py"), *stored, options=options) as door, door.client() as reader:
        *welcome, unwelcome = events
        for event in welcome:
            assert await told(door, event) == (True, "")
        accepted, message = await told(door, unwelcome)
        assert not accepted
        assert message.startswith(reason)
        found = await reader.ask("all", {"kinds": [1]})
        assert {event["id"] for event in found} == {event.id for event in welcome}
