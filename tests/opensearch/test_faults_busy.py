"""A cluster that refuses for a while, or whose answers are lost: all is stored in the end, once, or is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio

from tests.opensearch.front import (
    Answer,
    Front,
    PassOn,
    Request,
    Rule,
    busy,
    dropped,
    lost,
    picky,
    standing_before,
    times,
)
from tests.support.indices import made, options_for
from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import PATIENCE
from tests.support.program_load import publish_all
from tests.support.server import Door, Talker, open_door, plain
from trio_relay import Event, Saved, StoreError

pytestmark = pytest.mark.slow

EVENTS: Final = [ALICE.event(f"{number}", created_at=NOW + number) for number in range(100)]
PASSING: Final[dict[str, Rule]] = {
    "the queue is full for whole requests": times(4, busy),
    "the queue is full for single items": times(3, picky),
    "answers are lost": times(2, lost),
    "requests are lost": times(2, dropped),
}


@asynccontextmanager
async def _door(node: str, prefix: str, **options: Any) -> AsyncIterator[tuple[Front, Door]]:
    """A relay whose cluster stands behind a front."""
    async with (
        standing_before(node) as front,
        made(options_for(front.url, prefix, **options)) as store,
        open_door(store) as door,
    ):
        yield front, door


@asynccontextmanager
async def _listening(door: Door) -> AsyncIterator[list[dict[str, Any]]]:
    """What a client hears of live events, in full when the context has ended."""
    heard: list[dict[str, Any]] = []
    async with door.client() as client:
        assert await client.ask("live", {"limit": 0}) == []
        yield heard
        # One more, so that all others have come when it has.
        last = BOB.event("last", created_at=NOW)
        async with door.client() as other:
            assert await other.publish(last) == ["OK", last.id, True, ""]
        while (message := await client.receive())[2]["id"] != last.id:
            assert message[:2] == ["EVENT", "live"]
            heard.append(message[2])


@pytest.mark.parametrize("rule", PASSING.values(), ids=PASSING)
async def test_what_passes_within_the_budget_no_client_hears_of(node: str, prefix: str, rule: Rule) -> None:
    async with _door(node, prefix, retry_seconds=PATIENCE) as (front, door):
        async with _listening(door) as heard, door.client() as client:
            front.rule = rule
            assert await publish_all(client, EVENTS) == {event.id: (True, "") for event in EVENTS}
            assert await client.count("all", {}) == len(EVENTS)
        assert sorted(event["id"] for event in heard) == sorted(event.id for event in EVENTS)


async def _versions(client: Talker) -> list[list[Any]]:
    """Versions of two addresses, and requests that delete a note and an address; the answers to them."""
    note = ALICE.event("note")
    address = f"30023:{ALICE.pubkey}:a"
    told = [
        ALICE.event("one", kind=0, created_at=NOW + 1),
        ALICE.event("two", kind=0, created_at=NOW + 2),
        note,
        ALICE.event("article", kind=30_023, created_at=NOW, tags=[["d", "a"]]),
        ALICE.event("", kind=5, created_at=NOW + 3, tags=[["e", note.id], ["a", address]]),
        ALICE.event("three", kind=0, created_at=NOW + 3),
    ]
    return [await client.publish(event) for event in told]


@pytest.mark.parametrize("rule", [lost, dropped], ids=["answer", "request"])
async def test_no_version_and_no_deletion_is_refused_because_something_was_lost(
    node: str, prefix: str, rule: Rule
) -> None:
    async with (
        _door(node, prefix, retry_seconds=PATIENCE) as (front, door),
        door.client() as client,
        _listening(door) as heard,
    ):
        front.rule = _every_other(rule)
        answers = await _versions(client)
        front.rule = None
        found = await client.ask("left", {"authors": [ALICE.pubkey]})
    assert {(accepted, reason) for _, _, accepted, reason in answers} == {(True, "")}
    assert sorted((event["kind"], event["content"]) for event in found) == [(0, "three"), (5, "")]
    assert [event["id"] for event in heard] == [event_id for _, event_id, _, _ in answers]


def _every_other(rule: Rule) -> Rule:
    """The rule for the first request, the third, and so on."""
    number = 0

    async def answer(request: Request, pass_on: PassOn) -> Answer:
        nonlocal number
        number += 1
        return await (rule(request, pass_on) if number % 2 else pass_on(request))

    return answer


async def test_when_the_budget_is_used_up_clients_are_told_and_it_works_again_by_itself(node: str, prefix: str) -> None:
    async with _door(node, prefix, retry_seconds=0.3) as (front, door):
        front.rule = busy
        async with door.client() as client:
            refused = await publish_all(client, EVENTS[:5])
            assert refused == {event.id: (False, "error: the relay's store is busy") for event in EVENTS[:5]}
            assert await client.ask("none", {}) == []
            await client.send("CLOSE", "none")
            front.rule = None
            assert await publish_all(client, EVENTS[:5]) == {event.id: (True, "") for event in EVENTS[:5]}
        assert await door.relay.check() is None


async def test_health_tells_of_trouble_while_it_lasts_and_no_longer(node: str, prefix: str) -> None:
    async with _door(node, prefix, retry_seconds=PATIENCE) as (front, door):
        assert await door.relay.check() is None
        front.rule = busy
        async with door.client() as client:
            await client.send("EVENT", EVENTS[0])
            assert await _health(door, is_good=False) == "the relay's store is busy"
            front.rule = None
            assert await client.receive() == ["OK", EVENTS[0].id, True, ""]
        assert await door.relay.check() is None


async def test_health_is_good_again_though_nobody_publishes_any_more(node: str, prefix: str) -> None:
    async with _door(node, prefix, retry_seconds=0.0) as (front, door):
        front.rule = busy
        async with door.client() as client:
            assert (await client.publish(EVENTS[0]))[2] is False
        front.rule = None
        assert await _health(door, is_good=True) is None


async def _health(door: Door, *, is_good: bool) -> str | None:
    """What the relay says of itself, once it is well, or is not."""
    with trio.fail_after(PATIENCE):
        while True:
            trouble = await door.relay.check()
            if (trouble is None) is is_good:
                return trouble
            await trio.sleep(0.02)


async def test_a_request_that_is_too_large_is_split_down_to_the_event_that_nobody_takes(node: str, prefix: str) -> None:
    async def narrow(request: Request, pass_on: PassOn) -> Answer:
        return await pass_on(request) if len(request.body) < 5_000 else (413, b"")

    large = ALICE.event("long " * 1_000)
    async with standing_before(node) as front, made(options_for(front.url, prefix)) as store:
        front.rule = narrow
        outcomes = await store.save_many([*EVENTS[:20], large, *EVENTS[20:40]])
        assert outcomes == [Saved.STORED] * 20 + [Saved.FAILED] + [Saved.STORED] * 20
        with pytest.raises(StoreError, match=r"^the relay's store takes no request of this size$"):
            await store.save_many([large])
        front.rule = None
        assert await store.save_many([large, EVENTS[0]]) == [Saved.STORED, Saved.DUPLICATE]


async def test_a_deletion_whose_second_half_failed_is_not_stored_and_can_be_sent_again(node: str, prefix: str) -> None:
    note: Event = ALICE.event("note")
    request = ALICE.event(kind=5, created_at=NOW + 1, tags=[["e", note.id]])
    async with _door(node, prefix, retry_seconds=0.2) as (front, door), door.client() as client:
        assert await client.publish(note) == ["OK", note.id, True, ""]
        front.rule = _after(1, busy)
        assert await client.publish(request) == ["OK", request.id, False, "error: the relay's store is busy"]
        front.rule = None
        assert await client.ask("kinds", {"kinds": [5]}) == []
        await client.send("CLOSE", "kinds")
        assert await client.publish(request) == ["OK", request.id, True, ""]
        assert await client.ask("all", {}) == [plain(request)]


def _after(number: int, rule: Rule) -> Rule:
    """A rule once so many requests have been passed on."""
    left = number

    async def answer(request: Request, pass_on: PassOn) -> Answer:
        nonlocal left
        left -= 1
        return await (pass_on(request) if left >= 0 else rule(request, pass_on))

    return answer
