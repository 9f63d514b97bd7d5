"""NIP-40, expiration: what is over is refused, is told to nobody, and goes."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.backends import everything
from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.obedient_store import ObedientStore
from tests.support.receiving import answered, synced, told_until
from trio_relay import Event, MemoryStore, Store

FAR = 2**33


class Clock:
    """A time of day that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def until(expiry: int | str, content: str = "tea", author: Author = ALICE, **fields: int) -> Event:
    return author.event(content, tags=[["t", "tea"], ["expiration", str(expiry)]], **fields)


def refusal(expiry: int) -> list[object]:
    return [False, f"invalid: the event has expired at {expiry} (NIP-40)"]


@pytest.mark.parametrize("expiry", [NOW + 1, NOW + 3_600, FAR, 10**18 - 1])
async def test_an_event_may_name_the_second_at_which_it_expires(expiry: int) -> None:
    async with open_named(MemoryStore(), clock=lambda: NOW) as door, open_client(door) as client:
        assert await client.publish(until(expiry)) == [True, ""]


@pytest.mark.parametrize("expiry", [NOW, NOW - 1, 1, 0])
async def test_an_event_that_has_expired_is_dropped(expiry: int) -> None:
    """ "Relays SHOULD drop any events that are published to them if they are expired"."""
    async with open_named(MemoryStore(), clock=lambda: NOW + 0.9) as door, open_client(door) as client:
        await answered(client, {"kinds": [1]}, sub_id="live")
        assert await client.publish(until(expiry)) == refusal(expiry)
        assert await client.ask({"kinds": [1]}) == []


@pytest.mark.parametrize("kind", [0, 5, 1_059, 30_023])
async def test_the_tag_counts_on_every_kind(kind: int) -> None:
    event = ALICE.event(kind=kind, tags=[["p", BOB.pubkey], ["expiration", str(NOW)]])
    async with open_named(MemoryStore(), clock=lambda: NOW) as door, open_client(door) as client:
        assert await client.publish(event) == refusal(NOW)


@pytest.mark.parametrize(
    "tag", [[text] for text in ("", "soon", "-1", "1.5", "1e9", " 1", "1 ", "٣", "0x1")] + [[]], ids=str
)
async def test_a_value_that_is_no_time_is_refused(tag: list[str]) -> None:
    """ "In the same format as the created_at timestamp": its author meant it to end, so it must not stay for ever."""
    event = ALICE.event(tags=[["t", "tea"], ["expiration", *tag]])
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.publish(event) == [
            False,
            "invalid: the expiration tag must hold an integer, seconds since 1970 (NIP-40)",
        ]
        assert await client.ask({"#t": ["tea"]}) == []


async def test_a_time_that_no_clock_reaches_is_a_time() -> None:
    event = until("1" * 19)
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.publish(event) == [True, ""]
        assert await client.ask({"#t": ["tea"]}) == [event.id]


@pytest.mark.parametrize("tags", [[["Expiration", "1"]], [["x", "expiration", "1"]], [[], ["e"]]])
async def test_other_tags_say_nothing_of_it(tags: list[list[str]]) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.publish(ALICE.event(tags=tags)) == [True, ""]


async def test_the_first_of_several_is_the_one_that_counts() -> None:
    first, last = (ALICE.event(tags=[["expiration", str(at)] for at in times]) for times in ([1, FAR], [FAR, 1]))
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.publish(first) == refusal(1)
        assert await client.publish(last) == [True, ""]


async def test_nobody_is_sent_what_has_expired_although_it_is_stored(store: Store) -> None:
    """ "Relays SHOULD NOT send expired events to clients, even if they are stored"."""
    over, lasts, plain = until(NOW + 1), until(FAR, author=BOB), ALICE.event("tea", tags=[["t", "tea"]])
    # By the relay's clock it lasts, and is taken; the store's clock has gone on.
    async with open_named(store, clock=lambda: NOW) as door, open_client(door) as client:
        for event in (over, lasts, plain):
            assert await client.publish(event) == [True, ""]
        wanted = {lasts.id, plain.id}
        broad: list[dict[str, Any]] = [{}, {"kinds": [1]}, {"#t": ["tea"]}, {"search": "tea"}]
        for one in (*broad, {"ids": [over.id, *wanted]}):
            assert set(await client.ask(one)) == wanted
            assert await client.count(one) == {"count": 2}
        for one in broad[:2]:
            assert await synced(client, one) == wanted
        for one in ({"ids": [over.id]}, {"authors": [ALICE.pubkey], "#t": ["tea"], "until": NOW - 1}):
            assert await client.ask(one) == []
            assert await client.count(one) == {"count": 0}
        assert await client.ask({"authors": [ALICE.pubkey], "limit": 1}) == [plain.id]


async def test_the_answer_is_whole_without_it(store: Store) -> None:
    over, plain = until(NOW + 1, created_at=NOW), ALICE.event(created_at=NOW - 1)
    await store.save_many([over, plain])
    async with open_named(store) as door, open_client(door) as client:
        assert await answered(client, {"limit": 1}) == ([plain.id], [])


async def test_no_sketch_counts_it(store: Store) -> None:
    target = "e" * 64
    over, lasts = (
        one.event("+", kind=7, tags=[["e", target], ["expiration", str(expiry)]])
        for one, expiry in ((ALICE, 1), (BOB, FAR))
    )
    async with open_named(store) as door, open_client(door) as client:
        await store.save_many([lasts])
        without = await client.count({"kinds": [7], "#e": [target]})
        await store.save_many([over])
        assert await client.count({"kinds": [7], "#e": [target]}) == without
        assert without["count"] == 1


async def test_it_is_sent_up_to_its_last_second_and_no_longer() -> None:
    clock = Clock()
    event = until(NOW + 10)
    async with open_named(MemoryStore(clock), clock=clock) as door, open_client(door) as client:
        assert await client.publish(event) == [True, ""]
        for later, found in ((0.0, [event.id]), (9.9, [event.id]), (10.0, []), (11.0, [])):
            clock.now = NOW + later
            assert await client.ask({}) == found
            assert await client.count({}) == {"count": len(found)}
            assert await synced(client, {}) == set(found)
        assert await client.publish(event) == refusal(NOW + 10)


async def test_live_it_is_delivered_while_it_lasts() -> None:
    clock, store = Clock(), ObedientStore()
    lasts, over, last = until(NOW + 10), until(NOW + 9), ALICE.event("last")
    async with (
        open_named(store, clock=clock) as door,
        open_client(door) as reader,
        open_client(door) as author,
    ):
        await answered(reader, {"kinds": [1], "limit": 0})
        assert await author.publish(lasts) == [True, ""]
        store.block("save_many")
        await author.send("EVENT", over)
        await wait_all_tasks_blocked()
        clock.now = NOW + 9
        store.release("save_many")
        assert await author.receive() == ["OK", over.id, True, ""]
        assert await author.publish(last) == [True, ""]
        assert await told_until(reader, last) == [lasts.id]


async def test_it_is_deleted_in_the_background(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "Should be deleted by relays": it leaves the store too."""
    over, lasts, plain = until(NOW + 1), until(FAR), ALICE.event("plain")
    await store.save_many([over, lasts, plain])
    swept, sweep = trio.Event(), store.sweep

    async def sweep_and_tell() -> int:
        number = await sweep()
        swept.set()
        return number

    monkeypatch.setattr(store, "sweep", sweep_and_tell)
    async with open_named(store):
        await swept.wait()
        assert {event.id for event in await everything(store)} == {lasts.id, plain.id}


@pytest.mark.usefixtures("inline_threads")
async def test_the_sweep_comes_every_so_many_seconds(autojump_clock: MockClock) -> None:
    clock = Clock()
    store = MemoryStore(clock)
    async with (
        open_named(store, rules_for(sweep_seconds=60), clock=clock) as door,
        open_client(door) as client,
    ):
        await trio.sleep(1)
        for _ in range(3):
            event = until(int(clock.now) + 1, created_at=int(clock.now))
            assert await client.publish(event) == [True, ""]
            clock.now += 1
            await trio.sleep(58)
            assert await everything(store) == [event]
            await trio.sleep(2)
            assert await everything(store) == []


async def test_what_it_had_replaced_does_not_come_back(store: Store) -> None:
    plain, passing = ALICE.event("old", kind=0), until(NOW + 9, kind=0, created_at=NOW + 1)
    async with open_named(store, clock=lambda: NOW) as door, open_client(door) as client:
        assert await client.publish(plain) == [True, ""]
        assert await client.publish(passing) == [True, ""]
        assert await client.ask({"kinds": [0]}) == []


@pytest.mark.parametrize("expiry", [1, NOW, FAR])
async def test_ephemeral_events_are_delivered_and_not_stored_whatever_they_say(expiry: int) -> None:
    event = until(expiry, kind=20_001)
    async with (
        open_named(MemoryStore(), clock=lambda: NOW) as door,
        open_client(door) as reader,
        open_client(door) as author,
    ):
        await answered(reader, {"kinds": [20_001]})
        assert await author.publish(event) == [True, ""]
        assert await told_until(reader, event) == []
        assert await author.ask({"kinds": [20_001]}) == []
