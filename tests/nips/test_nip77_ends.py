"""NIP-77: syncs that are closed, left or never come about, and a relay that has none."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, NOW, made_up
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.obedient_store import SyncedStore
from tests.support.receiving import synced
from tests.support.server import Door
from tests.support.syncing import FIRST, HASTY, begin, compared, ids_of, is_over, refusal, refused, told
from trio_relay import Limits, RelayOptions, StoreError
from trio_relay.pipeline.statistics import SyncStatistics

NOTES: Final = [made_up(str(number), created_at=NOW + number) for number in range(5)]
SETS: Final[dict[str, dict[str, Any]]] = {"kept": {}, "read": {"kinds": [1]}}
NOTHING_LEFT: Final = SyncStatistics(sessions=0, sets_read=1, kept=0, held=0)

both_sets = pytest.mark.parametrize("one", SETS.values(), ids=SETS)


def statistics(door: Door) -> SyncStatistics:
    return door.relay.statistics().syncing


async def filled() -> SyncedStore:
    store = SyncedStore(page_events=2)
    await store.save_many(NOTES)
    return store


@both_sets
@pytest.mark.parametrize("gate", ["records", "record page"])
async def test_a_sync_that_is_closed_while_it_is_opened_never_begins(one: dict[str, Any], gate: str) -> None:
    store = await filled()
    async with open_named(store) as door, open_client(door) as client:
        store.block(gate)
        await client.send("NEG-OPEN", "sync", one, FIRST.hex())
        await wait_all_tasks_blocked()
        await client.send("NEG-CLOSE", "sync")
        assert await client.count({}) == {"count": len(NOTES)}
        store.release(gate)
        assert store.cancelled[gate] == 1
        assert statistics(door) == NOTHING_LEFT
        assert await is_over(client)


@both_sets
async def test_one_that_is_opened_again_while_it_is_opened_is_answered_once(one: dict[str, Any]) -> None:
    store = await filled()
    async with open_named(store) as door, open_client(door) as client:
        store.block("records")
        for _ in range(3):
            await client.send("NEG-OPEN", "sync", one, FIRST.hex())
        await client.send("NEG-OPEN", "other", {"kinds": [7]}, FIRST.hex())
        await wait_all_tasks_blocked()
        store.release("records")
        answers = sorted([await client.receive(), await client.receive()])
        assert [answer[:2] for answer in answers] == [["NEG-MSG", "other"], ["NEG-MSG", "sync"]]
        assert await client.ask({"limit": 1}) == [NOTES[-1].id]
        assert statistics(door).sessions == 2


@both_sets
async def test_a_message_that_comes_before_the_sync_is_open_ends_it(one: dict[str, Any]) -> None:
    """The relay has said that it is over, so that it has to be."""
    store = await filled()
    async with open_named(store) as door, open_client(door) as client:
        store.block("records")
        await client.send("NEG-OPEN", "sync", one, FIRST.hex())
        await client.send("NEG-MSG", "sync", FIRST.hex())
        assert await refusal(client) == [HASTY]
        store.release("records")
        await wait_all_tasks_blocked()
        assert statistics(door).sessions == 0
        assert await is_over(client)


@both_sets
async def test_nothing_is_left_of_a_client_who_goes(one: dict[str, Any]) -> None:
    store = await filled()
    async with open_named(store) as door, open_client(door) as other:
        async with open_client(door) as client:
            await begin(client, one, sync_id="open")
            await begin(client, {"kinds": [7]}, sync_id="another")
            store.block("records")
            await client.send("NEG-OPEN", "half open", {"authors": [ALICE.pubkey]}, FIRST.hex())
            await wait_all_tasks_blocked()
            assert statistics(door).sessions == 3
        await wait_all_tasks_blocked()
        assert (statistics(door).sessions, statistics(door).held, store.cancelled["records"]) == (0, 0, 1)
        assert await is_over(other, "open")


async def test_a_client_who_goes_leaves_others_the_set_that_was_read_for_both() -> None:
    store = await filled()
    async with open_named(store) as door, open_client(door) as other:
        store.block("record page")
        async with open_client(door) as client:
            await client.send("NEG-OPEN", "sync", {}, FIRST.hex())
            await wait_all_tasks_blocked()
            await other.send("NEG-OPEN", "sync", {}, FIRST.hex())
            await wait_all_tasks_blocked()
        store.release("record page")
        assert len(await told(other)) > len(NOTES) * 32
        assert statistics(door) == SyncStatistics(sessions=1, sets_read=2, kept=len(NOTES), held=0)


@both_sets
@pytest.mark.parametrize("gate", ["records", "record page"])
async def test_what_the_store_cannot_tell_is_an_error_and_the_next_sync_is_new(one: dict[str, Any], gate: str) -> None:
    store = await filled()
    async with open_named(store) as door, open_client(door) as client:
        store.failing[gate] = "disk is gone"
        assert await refused(client, one) == ["error: disk is gone"]
        assert statistics(door) == NOTHING_LEFT
        del store.failing[gate]
        await store.save_many([ALICE.event()])
        assert await synced(client, one) == ids_of([*NOTES, ALICE.event()])


async def test_a_store_that_cannot_be_swept_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> int:
        await trio.lowlevel.checkpoint()
        raise StoreError("disk is gone")

    store = await filled()
    async with open_named(store) as door, open_client(door) as client:
        monkeypatch.setattr(store, "sweep", fail)
        assert await refused(client) == ["error: disk is gone"]
        assert await synced(client, SETS["read"]) == ids_of(NOTES)


@pytest.mark.usefixtures("inline_threads")
@both_sets
async def test_a_page_that_takes_too_long_is_an_error(autojump_clock: MockClock, one: dict[str, Any]) -> None:
    store = await filled()
    async with open_named(store, options=RelayOptions(query_seconds=3)) as door, open_client(door) as client:
        store.block("record page")
        started = trio.current_time()
        reason = "error: the sync's set took more than 3 seconds to read (query_seconds)"
        assert await refused(client, one) == [reason]
        assert trio.current_time() - started == pytest.approx(3, abs=0.1)
        store.release("record page")
        assert await synced(client, one) == ids_of(NOTES)


@both_sets
async def test_a_relay_that_stops_ends_syncs_with_their_connections(one: dict[str, Any]) -> None:
    async with open_named(await filled()) as door, open_client(door) as client:
        await begin(client, one)
        door.stop.set()
        await wait_all_tasks_blocked()
        assert statistics(door).sessions == 0


async def test_where_sync_is_off_it_is_unsupported_and_not_advertised() -> None:
    reason = "unsupported: sync (NIP-77) is off on this relay"
    async with open_named(await filled(), rules_for(has_sync=False)) as door, open_client(door) as client:
        assert await refused(client) == [reason]
        assert await refused(client, {"search": "tea"}) == [reason]
        await client.send("NEG-MSG", "sync", FIRST.hex())
        assert await refusal(client) == [reason]
        await client.send("NEG-CLOSE", "sync")
        assert 77 not in msgspec.json.decode(door.relay.document())["supported_nips"]
        assert await client.ask({"limit": 1}) == [NOTES[-1].id]
    async with open_named(await filled()) as door, open_client(door) as client:
        assert 77 in msgspec.json.decode(door.relay.document())["supported_nips"]
        assert await synced(client, {}) == ids_of(NOTES)


async def test_a_filter_of_a_sync_counts_like_any_other() -> None:
    limits = Limits(max_filter_values=8)
    async with open_named(await filled(), rules_for(limits=limits)) as door, open_client(door) as client:
        assert (await compared(client, {"kinds": [1, 2, 3]})).need == ids_of(NOTES)
        reason = "error: at most 8 values in the filters of a connection (max_filter_values)"
        assert await refused(client, {"kinds": [1, 2, 3, 4]}) == [reason]


async def test_a_sync_needs_no_limit_and_is_not_cut_at_the_largest() -> None:
    limits = Limits(max_limit=2, default_limit=1)
    async with open_named(await filled(), rules_for(limits=limits)) as door, open_client(door) as client:
        for one in (*SETS.values(), {"kinds": [1], "limit": 5}):
            assert await synced(client, one) == ids_of(NOTES)
