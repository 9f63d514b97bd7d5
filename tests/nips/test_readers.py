"""Where only members read (NIP-43), who is one no more, or is banned, reads no more: not even what is open."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.nips.members_relay import ADMIN, NOW, leave, member_rules, open_door
from tests.support.keys import ALICE, BOB, CAROL
from tests.support.named_relay import AuthClient, open_client
from tests.support.obedient_store import ObedientStore
from tests.support.server import Door
from trio_relay import MemberOptions, MemoryStore, Store
from trio_relay.policy.lists import Change, ListEntry, ListName

READ = "restricted: only members may read here"
JOINED = [Change(ListName.MEMBERS, key.pubkey, ListEntry(since=NOW)) for key in (ALICE, BOB)]
BANNED = Change(ListName.BANNED_PUBKEYS, ALICE.pubkey, ListEntry(since=NOW))


READERS = MemberOptions(enabled=True, members_read=True, members_write=False)


@asynccontextmanager
async def open_club(store: Store | None = None, members: MemberOptions = READERS) -> AsyncIterator[Door]:
    async with open_door(store or MemoryStore(), member_rules(members)) as door:
        await door.relay.moderation.state.amend(JOINED)
        yield door


async def subscribed(client: AuthClient, sub_id: str = "sub") -> None:
    await client.send("REQ", sub_id, {"kinds": [1], "limit": 0})
    assert (await client.receive())[:2] == ["EOSE", sub_id]


async def hear(door: Door, *clients: AuthClient) -> None:
    """What is published reaches these clients."""
    event = CAROL.event("news", created_at=NOW)
    async with open_client(door) as writer:
        assert await writer.publish(event) == [True, ""]
    for client in clients:
        assert (await client.receive())[2]["id"] == event.id


@pytest.mark.parametrize("change", [[BANNED], [Change(ListName.MEMBERS, ALICE.pubkey)]])
async def test_subscriptions_of_who_may_read_no_more_end(change: Sequence[Change]) -> None:
    async with (
        open_club() as door,
        open_client(door, ALICE) as alice,
        open_client(door, BOB) as bob,
        open_client(door, ALICE, ADMIN) as both,
    ):
        for client in (alice, bob, both):
            await subscribed(client)
        await subscribed(alice, "other")
        await door.relay.moderation.state.amend(change)
        assert [await alice.receive() for _ in range(2)] == [["CLOSED", "sub", READ], ["CLOSED", "other", READ]]
        assert await alice.ask_refused({"kinds": [1]}) == READ
        await hear(door, bob, both)  # the last has another key
        await door.relay.moderation.state.amend([Change(ListName.BANNED_PUBKEYS, ALICE.pubkey), *JOINED])
        await subscribed(alice)


async def test_who_leaves_reads_no_more() -> None:
    async with open_club() as door, open_client(door, ALICE) as alice:
        await subscribed(alice)
        assert await alice.ask({"kinds": [7]}, sub_id="brief") == []
        await alice.send("EVENT", leave(ALICE))
        answers = [await alice.receive() for _ in range(2)]
        assert ["CLOSED", "sub", READ] in answers


async def test_syncs_of_who_may_read_no_more_end() -> None:
    async with open_club() as door, open_client(door, ALICE) as alice:
        await alice.send("NEG-OPEN", "neg", {"kinds": [1]}, "6100000200")
        assert (await alice.receive())[:2] == ["NEG-MSG", "neg"]
        await door.relay.moderation.state.amend([BANNED])
        assert await alice.receive() == ["NEG-ERR", "neg", READ]
        await alice.send("NEG-MSG", "neg", "6100000200")
        assert await alice.receive() == ["NEG-ERR", "neg", "closed: no sync of this id is open"]


@pytest.mark.usefixtures("inline_threads")
async def test_counts_and_queries_under_way_end_too(autojump_clock: MockClock) -> None:
    store = ObedientStore()
    store.block("count")
    store.block("query")
    async with open_club(store) as door, open_client(door, ALICE) as alice:
        await alice.send("COUNT", "count", {"kinds": [1]})
        await alice.send("REQ", "query", {"kinds": [1]})
        await wait_all_tasks_blocked()
        assert {"count", "query"} <= {*store.calls}
        await door.relay.moderation.state.amend([BANNED])
        answers = [await alice.receive() for _ in range(2)]
        assert answers == [["CLOSED", "count", READ], ["CLOSED", "query", READ]]
        store.release("count")
        store.release("query")
        await trio.sleep(1)
        assert await alice.ask_refused({}, verb="COUNT") == READ


@pytest.mark.parametrize("members", [MemberOptions(enabled=True, members_write=False), MemberOptions()])
async def test_where_everybody_reads_a_ban_is_about_writing(members: MemberOptions) -> None:
    async with open_club(members=members) as door, open_client(door, ALICE) as alice:
        await subscribed(alice)
        await door.relay.moderation.state.amend([BANNED])
        await hear(door, alice)
