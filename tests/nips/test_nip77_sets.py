"""NIP-77: a set is of what is stored, lives, and may be read, as it is when the sync is opened."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.named_relay import URL, open_client, open_named, rules_for
from tests.support.receiving import synced
from tests.support.syncing import FIRST, begin, compared, go_on, ids_of, items_of, refusal, refused
from trio_relay import Event, Filter, MemberOptions, MemoryStore, Store
from trio_relay.nostr.negentropy.protocol import initiate

ALL_KINDS: Final = [*range(100), 1_059, 10_002, 30_023]
ASKED: Final[dict[str, dict[str, Any]]] = {
    "everything": {},
    "a time": {"since": NOW - 100, "until": NOW + 1_000},
    "kinds": {"kinds": ALL_KINDS},
}
"""All there is, by the set that is kept, and by one that is read."""

asked = pytest.mark.parametrize("one", ASKED.values(), ids=ASKED)


class Clock:
    """A time of day that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


NOTE, OTHER = ALICE.event("note"), BOB.event("other")
OLD, NEW = (ALICE.event(kind=10_002, created_at=NOW + at) for at in range(2))
DELETION: Final = ALICE.event(kind=5, created_at=NOW + 3, tags=[["e", NOTE.id]])
VANISH: Final = ALICE.event(kind=62, created_at=NOW + 3, tags=[["relay", URL]])
WRAP: Final = Author("nobody").event("sealed", kind=1_059, tags=[["p", ALICE.pubkey]])
OF_BOB: Final = Author("nobody").event("for Bob", kind=1_059, tags=[["p", BOB.pubkey]])
MESSAGE: Final = BOB.event("psst", kind=4, tags=[["p", ALICE.pubkey]])

CHANGES: Final[dict[str, tuple[list[Event], list[Event], list[Event]]]] = {
    "a deletion": ([NOTE, OTHER], [DELETION], [OTHER, DELETION]),
    "a newer version": ([OLD, OTHER], [NEW], [OTHER, NEW]),
    "an older version": ([NEW], [OLD], [NEW]),
    "a request to vanish": ([NOTE, OTHER, OLD], [VANISH], [OTHER, VANISH]),
    "more of the same": ([NOTE], [NOTE, OTHER], [NOTE, OTHER]),
    "what is not kept": ([NOTE], [ALICE.event(kind=20_001)], [NOTE]),
    "what is private": ([NOTE], [MESSAGE, WRAP], [NOTE]),
}


@asked
@pytest.mark.parametrize(("before", "then", "left"), CHANGES.values(), ids=CHANGES)
async def test_a_set_is_what_is_stored_when_the_sync_is_opened(
    store: Store, one: dict[str, Any], before: list[Event], then: list[Event], left: list[Event]
) -> None:
    async with (
        open_named(store) as door,
        open_client(door) as client,
        open_client(door, ALICE, BOB) as publisher,
    ):
        for event in before:
            assert (await publisher.publish(event))[0] is True
        assert await synced(client, one) == ids_of(before)
        for event in then:
            await publisher.publish(event)
        assert await synced(client, one) == ids_of(left)


@asked
async def test_what_expires_leaves_the_set_in_its_second(one: dict[str, Any]) -> None:
    """NIP-40; nothing was swept meanwhile but for the sync itself."""
    clock = Clock()
    ends, lasts = (ALICE.event(tags=[["expiration", str(NOW + seconds)]]) for seconds in (10, 20))
    store = MemoryStore(clock)
    async with open_named(store, clock=clock) as door, open_client(door) as client:
        for event in (ends, lasts, NOTE):
            assert await client.publish(event) == [True, ""]
        clock.now = NOW + 9
        assert await synced(client, one) == ids_of([ends, lasts, NOTE])
        clock.now = NOW + 10
        assert await synced(client, one) == ids_of([lasts, NOTE])


@asked
async def test_what_operators_remove_leaves_the_set(store: Store, one: dict[str, Any]) -> None:
    await store.save_many([NOTE, OTHER])
    async with open_named(store) as door, open_client(door) as client:
        assert await synced(client, one) == ids_of([NOTE, OTHER])
        await store.remove([Filter(authors=frozenset([ALICE.pubkey]))])
        assert await synced(client, one) == {OTHER.id}


@pytest.mark.slow
@asked
async def test_a_set_does_not_change_while_its_sync_goes_on(store: Store, one: dict[str, Any]) -> None:
    notes = [ALICE.event(str(number), created_at=NOW + number) for number in range(40)]
    await store.save_many(notes[:20])
    async with open_named(store) as door, open_client(door) as client, open_client(door) as publisher:
        first = await begin(client, one)
        for event in notes[20:]:
            assert await publisher.publish(event) == [True, ""]
        assert await publisher.publish(ALICE.event(kind=5, tags=[["e", notes[0].id]])) == [True, ""]
        assert await go_on(client, FIRST) == first


@asked
@pytest.mark.parametrize(
    ("keys", "readable"),
    [([], []), ([ALICE], [WRAP, MESSAGE]), ([BOB], [OF_BOB, MESSAGE]), ([CAROL], [])],
    ids=["nobody", "a recipient", "an author", "a stranger"],
)
async def test_who_has_authenticated_gets_what_is_private_to_him(
    store: Store, one: dict[str, Any], keys: list[Author], readable: list[Event]
) -> None:
    """AUTH in front of NEG-OPEN."""
    await store.save_many([NOTE, WRAP, OF_BOB, MESSAGE])
    async with open_named(store) as door, open_client(door) as stranger, open_client(door, *keys) as client:
        assert await synced(stranger, one) == {NOTE.id}
        assert await synced(client, one) == ids_of([NOTE, *readable])
        assert await synced(stranger, one) == {NOTE.id}


async def test_keys_that_come_later_count_for_the_next_sync(store: Store) -> None:
    await store.save_many([NOTE, WRAP])
    async with open_named(store) as door, open_client(door) as client:
        first = await begin(client)
        assert await client.authenticate(ALICE) == [True, ""]
        assert await go_on(client, FIRST) == first
        assert await synced(client, {}) == ids_of([NOTE, WRAP])


async def test_the_client_has_private_events_that_the_relay_does_not_show_to_others() -> None:
    """It hears that they are lacking here, and may send them: they are known, which it is not told."""
    store = MemoryStore()
    await store.save_many([WRAP])
    async with open_named(store) as door, open_client(door) as client:
        assert (await compared(client, {}, [WRAP])).have == {WRAP.id}
        assert await client.publish(WRAP) == [True, ""]


async def test_who_may_not_read_may_not_sync() -> None:
    """With the challenge once more where AUTH helps (NIP-42)."""
    rules = rules_for(auth_to_read=True)
    async with open_named(MemoryStore(), rules) as door, open_client(door) as client:
        await client.send("NEG-OPEN", "sync", {}, FIRST.hex())
        assert await client.receive() == ["AUTH", client.challenge]
        assert await refusal(client) == ["auth-required: only authenticated clients may read here"]
        assert await client.authenticate(ALICE) == [True, ""]
        assert await synced(client, {}) == set()


async def test_who_is_no_member_may_not_sync_where_members_alone_read() -> None:
    rules = rules_for(members=MemberOptions(enabled=True, members_read=True))
    async with open_named(MemoryStore(), rules) as door, open_client(door, ALICE) as client:
        assert await refused(client) == ["restricted: only members may read here"]


@pytest.mark.slow
async def test_what_both_have_found_lacking_is_the_same_after_they_have_exchanged_it(store: Store) -> None:
    here = [ALICE.event(str(number), created_at=NOW + number) for number in range(40)]
    there = [BOB.event(str(number), created_at=NOW + number) for number in range(40)]
    await store.save_many(there)
    async with open_named(store) as door, open_client(door) as client:
        outcome = await compared(client, {}, here)
        assert (outcome.have, outcome.need) == (ids_of(here), ids_of(there))
        for event in here:
            assert await client.publish(event) == [True, ""]
        both = [*here, *there]
        assert await begin(client, {}, initiate(items_of(both))) == b"\x61"
