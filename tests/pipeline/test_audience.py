"""What others have stored reaches subscribers here once, beside what is stored here and beside answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import Talker, open_door, plain
from trio_relay import Event, MemoryStore, Rules, Saved
from trio_relay.pipeline import pending_ids
from trio_relay.policy import lists
from trio_relay.store import base

NOTE, OTHER = ALICE.event("note"), BOB.event("other")
TYPING = ALICE.event("typing", kind=20_001)


class SharedStore(ObedientStore):
    """A store that a test writes to as others do."""

    def __init__(self) -> None:
        super().__init__(is_quick=True)
        self.audience: base.Audience | None = None
        self.spreading: list[Event] = []

    def hear(self, audience: base.Audience | None) -> None:
        self.audience = audience

    def spread(self, events: Sequence[Event]) -> None:
        self.spreading += events

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        await self._pass("put_metadata")
        await super().put_metadata(changes)

    def others(self) -> base.Audience:
        """Tells the relay what others do."""
        assert self.audience is not None
        return self.audience

    async def stored_by_others(self, event: Event) -> None:
        """Have an event found by queries, not yet delivered."""
        self.others().note([event])
        assert await MemoryStore.save_many(self, [event]) == [Saved.STORED]  # past the gates


async def heard(client: Talker) -> list[str]:
    """The ids of the live events that have come to the subscription `live` by now."""
    await wait_all_tasks_blocked()
    await client.send("COUNT", "mark", {"ids": [NOTE.id]})
    ids = []
    while (message := await client.receive())[0] != "COUNT":
        assert message[:2] == ["EVENT", "live"]
        ids.append(message[2]["id"])
    return ids


async def test_what_others_stored_is_delivered_live_and_answers_find_it(autojump_clock: MockClock) -> None:
    store = SharedStore()
    async with open_door(store) as door, door.client() as client:
        await client.ask("live", {"limit": 0})
        await store.stored_by_others(NOTE)
        await store.others().deliver([NOTE])
        assert await heard(client) == [NOTE.id]
        assert await client.ask("again", {}) == [plain(NOTE)]


async def test_what_a_query_found_before_its_delivery_does_not_come_twice(autojump_clock: MockClock) -> None:
    store = SharedStore()
    async with open_door(store) as door, door.client() as client:
        await store.stored_by_others(NOTE)
        assert await client.ask("live", {}) == [plain(NOTE)]
        await store.others().deliver([NOTE])
        assert await heard(client) == []


async def test_an_event_on_its_way_from_here_and_from_others_comes_once(autojump_clock: MockClock) -> None:
    store = SharedStore()
    async with open_door(store) as door, door.client() as client, door.client() as author:
        store.block("save_many")
        await author.send("EVENT", NOTE)
        await wait_all_tasks_blocked()
        await store.stored_by_others(NOTE)
        store.release("save_many")
        assert (await author.receive())[2:] == [True, "duplicate: already have this event"]
        assert await client.ask("live", {}) == [plain(NOTE)]  # found stored, still to be delivered
        await store.others().deliver([NOTE])
        assert await heard(client) == []


def test_an_id_of_others_stays_until_its_delivery_whatever_becomes_of_it_here() -> None:
    pending = pending_ids.PendingIds()
    added = pending.saving({NOTE.id, OTHER.id})
    pending.noted({NOTE.id})
    pending.not_stored(added)
    assert pending == {NOTE.id}
    pending.delivered(NOTE.id)
    pending.saving({NOTE.id})
    pending.not_stored({NOTE.id})
    assert pending == set()


async def test_ephemeral_events_are_spread_once_they_are_verified_and_those_of_others_are_delivered(
    autojump_clock: MockClock,
) -> None:
    store = SharedStore()
    async with open_door(store) as door, door.client() as client, door.client() as author:
        await client.ask("live", {"limit": 0})
        assert (await author.publish(TYPING))[2]
        assert (await author.publish(NOTE))[2]
        forged = plain(TYPING) | {"sig": NOTE.sig}
        await author.send("EVENT", forged)
        assert not (await author.receive())[2]
        assert [event.id for event in store.spreading] == [TYPING.id]
        await store.others().deliver([OTHER])
        assert await heard(client) == [TYPING.id, NOTE.id, OTHER.id]


async def test_many_ephemeral_events_of_one_read_are_spread_too(autojump_clock: MockClock) -> None:
    store = SharedStore()
    typing = [ALICE.event(str(number), kind=20_001) for number in range(20)]
    async with open_door(store) as door, door.client() as author:
        for event in typing:
            await author.send("EVENT", event)
        for _ in typing:
            assert (await author.receive())[2]
        assert {event.id for event in store.spreading} == {event.id for event in typing}


async def test_nobody_listens_before_the_first_subscription_and_after_the_last(autojump_clock: MockClock) -> None:
    store = SharedStore()
    async with open_door(store) as door, door.client() as client:
        assert not store.others().is_listening
        await client.ask("live", {"limit": 0})
        assert store.others().is_listening
        await client.send("CLOSE", "live")
        await wait_all_tasks_blocked()
        assert not store.others().is_listening


async def test_what_others_decided_is_learned_at_once(autojump_clock: MockClock) -> None:
    store, rules = SharedStore(), Rules()
    async with open_door(store, rules):
        ban = lists.Change(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, lists.ListEntry("spam", since=NOW))
        await store.put_metadata(lists.as_metadata([ban]))
        began = trio.current_time()
        store.others().decided()
        await wait_all_tasks_blocked()
        assert rules.is_banned(ALICE.pubkey, NOW)
        assert trio.current_time() == began


async def test_what_others_decided_while_something_was_decided_here_is_learned_right_after_that(
    autojump_clock: MockClock,
) -> None:
    store = SharedStore()
    ban = lists.Change(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, lists.ListEntry("spam", since=NOW))
    own = lists.Change(lists.ListName.BANNED_PUBKEYS, BOB.pubkey, lists.ListEntry("spam", since=NOW))
    async with open_door(store, rules := Rules()) as door, trio.open_nursery() as nursery:
        store.block("put_metadata")
        nursery.start_soon(door.relay.moderation.state.amend, [own])
        await wait_all_tasks_blocked()
        await MemoryStore.put_metadata(store, lists.as_metadata([ban]))
        store.others().decided()
        await trio.sleep(1)
        assert not rules.is_banned(ALICE.pubkey, NOW)
        store.release("put_metadata")
        await trio.sleep(1)
        assert rules.is_banned(ALICE.pubkey, NOW)
        assert rules.is_banned(BOB.pubkey, NOW)


async def test_a_store_that_cannot_tell_what_was_decided_is_asked_again(autojump_clock: MockClock) -> None:
    store = SharedStore()
    async with open_door(store, rules := Rules()):
        ban = lists.Change(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, lists.ListEntry("spam", since=NOW))
        await store.put_metadata(lists.as_metadata([ban]))
        store.failing["get_metadata"] = "away"
        store.others().decided()
        await wait_all_tasks_blocked()
        assert not rules.is_banned(ALICE.pubkey, NOW)
        del store.failing["get_metadata"]
        store.others().decided()
        await wait_all_tasks_blocked()
        assert rules.is_banned(ALICE.pubkey, NOW)


async def test_what_is_banned_here_is_not_delivered_though_another_relay_has_taken_it(
    autojump_clock: MockClock,
) -> None:
    store = SharedStore()
    async with open_door(store) as door, door.client() as client:
        await client.ask("live", {"limit": 0})
        ban = lists.Change(lists.ListName.BANNED_PUBKEYS, ALICE.pubkey, lists.ListEntry("spam", since=NOW))
        await store.put_metadata(lists.as_metadata([ban]))
        store.others().decided()
        await wait_all_tasks_blocked()
        store.others().note([NOTE, OTHER])
        await store.others().deliver([NOTE, OTHER])
        assert await heard(client) == [OTHER.id]
        assert door.relay.stages.pending_ids == set()


@pytest.mark.parametrize("is_stopping", [False, True])
async def test_who_tells_on_while_the_relay_stops_waits_for_nothing(
    autojump_clock: MockClock, is_stopping: bool
) -> None:
    store = SharedStore()
    async with open_door(store):
        others = store.others()
        if not is_stopping:
            await others.deliver([NOTE])
    assert store.audience is None
    with trio.fail_after(1):
        await others.deliver([OTHER])
