"""What is banned goes from the store, whatever comes between the ban and the removal."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, CAROL, NOW
from tests.support.pipeline import Replies
from trio_relay import Event, Filter, MemoryStore, PolicyOptions, Relay, Rules, StoreError, open_relay
from trio_relay.nostr.errors import Rejected
from trio_relay.policy.lists import Change, ListEntry, ListName

pytestmark = pytest.mark.usefixtures("inline_threads")

BAN = Change(ListName.BANNED_PUBKEYS, ALICE.pubkey, ListEntry(since=NOW))
HERS = Filter(authors=frozenset({ALICE.pubkey}))
OLD, OTHER = ALICE.event("old"), BOB.event("hello")


class Slow(MemoryStore):
    """Removes when it is let, and fails when it is told to; it may belong to other relays as well."""

    def __init__(self, *, is_shared: bool = False) -> None:
        super().__init__()
        self.is_shared = is_shared
        self.failing: set[str] = set()
        self.removed: list[Sequence[Filter]] = []
        self.is_open = trio.Event()
        self.is_open.set()
        self.keeps = trio.Event()
        self.keeps.set()

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        await self.keeps.wait()
        if "put_metadata" in self.failing:
            raise StoreError("no keep")
        await super().put_metadata(changes)

    async def remove(self, filters: Sequence[Filter]) -> int:
        await self.is_open.wait()
        if "remove" in self.failing:
            raise StoreError("no remove")
        self.removed.append(filters)
        return await super().remove(filters)

    def contents(self) -> set[str]:
        return set(self._events)


@asynccontextmanager
async def open_house(store: MemoryStore) -> AsyncIterator[Relay]:
    rules = Rules(options=PolicyOptions(sweep_seconds=60))
    async with open_relay(store, rules=rules, clock=lambda: NOW) as relay:
        yield relay


def kept(store: Slow) -> list[str]:
    return sorted(store._kept)


@pytest.mark.parametrize("way", ["the visit is cancelled", "the relay stops"])
async def test_a_removal_outlives_the_visit_and_the_relay(way: str, autojump_clock: MockClock) -> None:
    store = Slow()
    await store.save_many([OLD, OTHER])
    store.is_open = trio.Event()
    async with open_house(store) as relay:
        with trio.move_on_after(1) as visit:
            await relay.moderation.removals.enforce([BAN], [HERS])
        assert visit.cancelled_caught
        assert kept(store) == [f"banned-pubkeys/{ALICE.pubkey}", f"removals/pubkey:{ALICE.pubkey}"]
        if way == "the visit is cancelled":
            store.is_open.set()
            await wait_all_tasks_blocked()
            assert store.contents() == {OTHER.id}
    store.is_open.set()
    async with open_house(store):
        await wait_all_tasks_blocked()
    assert store.contents() == {OTHER.id}
    assert kept(store) == [f"banned-pubkeys/{ALICE.pubkey}"]
    assert len(store.removed) == 1


async def test_who_waits_while_the_relay_stops_is_told_so(autojump_clock: MockClock) -> None:
    store, told = Slow(), list[str]()
    store.is_open = trio.Event()

    async def call(relay: Relay) -> None:
        with pytest.raises(Rejected) as caught:
            await relay.moderation.removals.enforce([BAN], [HERS])
        told.append(str(caught.value))

    async with trio.open_nursery() as nursery, open_house(store) as relay:
        nursery.start_soon(call, relay)
        await wait_all_tasks_blocked()
    assert told == ["error: the relay stops; the ban holds, but not all is removed: that is tried again"]


async def test_a_removal_that_failed_is_tried_again(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = Slow()
    await store.save_many([OLD, OTHER])
    store.failing = {"remove"}
    async with open_house(store) as relay:
        with pytest.raises(Rejected, match="no remove"):
            await relay.moderation.removals.enforce([BAN], [HERS])
        await wait_all_tasks_blocked()
        store.failing = set()
        await trio.sleep(9.9)
        assert store.contents() == {OLD.id, OTHER.id}
        await trio.sleep(0.2)
        assert store.contents() == {OTHER.id}
        assert kept(store) == [f"banned-pubkeys/{ALICE.pubkey}"]
    told = [(entry["event"], entry.get("error"), entry.get("events")) for entry in logged]
    assert told == [
        ("not all that is banned is removed", "no remove", None),
        ("removed what is banned", None, 1),
    ]


async def test_a_removal_that_is_done_succeeds_although_that_could_not_be_kept(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = Slow()
    await store.save_many([OLD])
    store.is_open = trio.Event()
    found: list[int] = []

    async def call(relay: Relay) -> None:
        found.append(await relay.moderation.removals.enforce([BAN], [HERS]))

    async with open_house(store) as relay, trio.open_nursery() as nursery:
        nursery.start_soon(call, relay)
        await wait_all_tasks_blocked()
        store.failing = {"put_metadata"}
        store.is_open.set()
        await wait_all_tasks_blocked()
        assert found == [1]
        store.failing = set()
        await trio.sleep(10.1)
        assert kept(store) == [f"banned-pubkeys/{ALICE.pubkey}"]
    assert logged[0]["event"] == "a removal is done and may be done again"


async def test_a_ban_that_has_been_lifted_removes_nothing_more(autojump_clock: MockClock) -> None:
    store = Slow()
    await store.save_many([OLD])
    await store.put_metadata({f"removals/pubkey:{ALICE.pubkey}": b"{}", f"removals/id:{OLD.id}": b"{}"})
    async with open_house(store):
        await wait_all_tasks_blocked()
    assert (store.contents(), store.removed, kept(store)) == ({OLD.id}, [], [])


async def test_what_is_owed_is_removed_in_portions(autojump_clock: MockClock) -> None:
    store, keys = Slow(), [f"{number:064x}" for number in range(150)]
    await store.put_metadata({f"{name}/{key}": b"{}" for key in keys for name in ("banned-pubkeys", "banned-events")})
    await store.put_metadata({f"removals/{what}:{key}": b"{}" for key in keys for what in ("pubkey", "id")})
    async with open_house(store):
        await wait_all_tasks_blocked()
    named = [len(filter_.authors or ()) + len(filter_.ids or ()) for filters in store.removed for filter_ in filters]
    assert (sum(named), max(named) <= 100, len(store.removed)) == (300, True, 3)
    assert not any(name.startswith("removals/") for name in kept(store))


async def test_what_another_relay_bans_goes_here_too(autojump_clock: MockClock) -> None:
    """What this relay has taken until it learns of the ban, the other's removal may not have seen."""
    store, replies = Slow(is_shared=True), Replies()
    banned: list[Event] = [OLD, CAROL.event()]
    async with open_house(store) as relay:
        await wait_all_tasks_blocked()
        await relay.publish(replies.batch(*banned, OTHER))
        await wait_all_tasks_blocked()
        await store.put_metadata({f"banned-pubkeys/{ALICE.pubkey}": b"{}", f"banned-events/{banned[1].id}": b"{}"})
        await trio.sleep(60.1)
        assert store.contents() == {OTHER.id}
        await store.put_metadata({"disallowed-kinds/7": b"{}"})
        await trio.sleep(60)
        assert len(store.removed) == 1
    assert not any(name.startswith("removals/") for name in kept(store))


async def test_what_is_banned_elsewhere_is_owed_here_until_it_is_removed(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    store = Slow(is_shared=True)
    await store.save_many([OLD])
    async with open_house(store):
        await wait_all_tasks_blocked()
        await store.put_metadata({f"banned-pubkeys/{ALICE.pubkey}": b"{}"})
        store.failing = {"remove"}
        await trio.sleep(190)  # three looks at what is kept, which says nothing of this
        assert store.contents() == {OLD.id}
        store.failing = set()
        await trio.sleep(10)
        assert store.contents() == set()
    assert {entry["event"] for entry in logged} == {"not all that is banned is removed", "removed what is banned"}


async def test_what_another_relay_owes_is_removed_for_it(autojump_clock: MockClock) -> None:
    store = Slow(is_shared=True)
    await store.save_many([OLD])
    await store.put_metadata({f"banned-pubkeys/{ALICE.pubkey}": b"{}"})
    async with open_house(store):
        await wait_all_tasks_blocked()
        assert store.contents() == {OLD.id}
        await store.put_metadata({f"removals/pubkey:{ALICE.pubkey}": b"{}"})
        await trio.sleep(60.1)
        assert (store.contents(), kept(store)) == (set(), [f"banned-pubkeys/{ALICE.pubkey}"])


@pytest.mark.parametrize("meanwhile", ["the ban is kept", "it is removed"])
async def test_a_round_that_comes_in_between_does_not_remove_what_somebody_waits_for(
    meanwhile: str, autojump_clock: MockClock
) -> None:
    """Else the caller hears of nothing removed, and the store is asked twice."""
    store = Slow(is_shared=True)
    await store.save_many([OLD, OTHER])
    numbers: list[int] = []

    async def ban(relay: Relay) -> None:
        numbers.append(await relay.moderation.removals.enforce([BAN], [HERS]))

    async with open_house(store) as relay, trio.open_nursery() as nursery:
        held = trio.Event()
        if meanwhile == "the ban is kept":
            store.keeps = held
        else:
            store.is_open = held
        nursery.start_soon(ban, relay)
        await wait_all_tasks_blocked()
        relay.moderation.removals.learned([])
        await wait_all_tasks_blocked()
        held.set()
        await wait_all_tasks_blocked()
        assert (numbers, store.removed) == ([1], [[HERS]])
        assert store.contents() == {OTHER.id}
        assert kept(store) == [f"banned-pubkeys/{ALICE.pubkey}"]
