"""What a relay keeps for itself, what it removes, and what it lists, on an index that others write too."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import httpx
import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from tests.opensearch.cluster import Index, scripted
from tests.opensearch.inside import inside
from tests.support.backends import ask, everything
from tests.support.indices import made, options_for
from tests.support.keys import ALICE, NOW
from trio_relay import Event, Filter, Saved, StoreError
from trio_relay.store.opensearch import OpenSearchOptions, OpenSearchStore, open_opensearch, refresh, scan
from trio_relay.store.opensearch.bulk import Write, Wrote
from trio_relay.store.opensearch.clear import Clearing
from trio_relay.store.opensearch.documents import address_slot, kept_slot, slot_of

STORED = Saved.STORED
OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age) for age in range(2))
NOTES = [ALICE.event(f"{age}", created_at=NOW + age) for age in range(5)]
ALL = Filter()
Relays = tuple[OpenSearchStore, OpenSearchStore]


@pytest.fixture
async def relays(node: str, prefix: str) -> AsyncIterator[Relays]:
    """Two stores on one index."""
    options = options_for(node, prefix)
    with trio.fail_after(60):
        async with made(options) as one, open_opensearch(options) as other:
            yield one, other


@pytest.mark.slow
async def test_what_one_keeps_the_other_finds_and_changes(relays: Relays) -> None:
    one, other = relays
    await one.put_metadata({"bans": b"one", "name": b"\x00\xff", "x" * 256: b""})
    assert (
        await other.get_metadata() == await one.get_metadata() == {"bans": b"one", "name": b"\x00\xff", "x" * 256: b""}
    )
    await other.put_metadata({"bans": b"two", "name": None, "never": None})
    assert await one.get_metadata() == {"bans": b"two", "x" * 256: b""}
    assert (await one.count([ALL]), await everything(one), await ask(one, Filter(since=0))) == (0, [], [])


async def test_keeping_tries_again_what_another_relay_has_written_meanwhile() -> None:
    index = Index()
    index.meanwhile["_bulk"] = deque([lambda: index.put(kept_slot("a"), name="a", value="b3RoZXI=")])
    async with scripted(index.answer) as cluster:
        store = OpenSearchStore(cluster.client, OpenSearchOptions(), lambda: NOW)
        await store.put_metadata({"a": b"mine", "b": b"too"})
        assert [asked.kind for asked in cluster.asked] == ["_mget", "_bulk", "_mget", "_bulk"]
        assert len(cluster.asked[-1].lines) == 2
        assert index.held[kept_slot("a")].source["value"] == "bWluZQ=="
        await store.put_metadata({})
        assert len(cluster.asked) == 4


async def test_nobody_keeps_trying_for_ever() -> None:
    index = Index()
    index.meanwhile["_bulk"] = deque([lambda: index.put(kept_slot("a"))] * 50)
    async with scripted(index.answer) as cluster:
        store = OpenSearchStore(cluster.client, OpenSearchOptions(), lambda: NOW)
        with pytest.raises(StoreError, match=r"^the relay's store has too many writers at a time$"):
            await store.put_metadata({"a": b"mine"})


async def test_what_cannot_be_kept_is_told(autojump_clock: MockClock) -> None:
    index = Index()
    index.faults["_bulk"] = deque([httpx.ConnectError("refused")] * 100)
    async with scripted(index.answer) as cluster:
        store = OpenSearchStore(cluster.client, OpenSearchOptions(retry_seconds=1.0), lambda: NOW)
        with pytest.raises(StoreError, match=r"^the relay's store is away$"):
            await store.put_metadata({"a": b"mine"})


@pytest.mark.slow
async def test_what_is_removed_may_come_again_and_deletions_stay(relays: Relays) -> None:
    one, other = relays
    request = ALICE.event(kind=5, created_at=NOW, tags=[["a", f"0:{ALICE.pubkey}:"]])
    assert await one.save_many([*NOTES, request, NEW]) == [STORED] * 7
    assert await other.remove([Filter(authors=frozenset([ALICE.pubkey]), kinds=frozenset([0, 1]))]) == 6
    assert await everything(one) == await everything(other) == [request]
    record = (await inside(one).records.read([slot := address_slot(f"0:{ALICE.pubkey}:")]))[slot]
    assert (record.event, record.until, record.tombstone) == (None, NOW, "")
    assert await one.save_many([*NOTES, OLD, NEW]) == [STORED] * 5 + [Saved.DELETED, STORED]
    assert await one.known([NOTES[0].id]) == {NOTES[0].id}
    assert await one.remove([ALL]) == 7
    assert (await one.known([NOTES[0].id]), await ask(one, ALL), await one.remove([ALL])) == (set(), [], 0)
    assert await one.remove([Filter(ids=frozenset())]) == 0


async def _replacing(store: OpenSearchStore, event: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another relay replace a version between the look for it and its removal."""
    empty = Clearing._empty

    async def replace_first(self: Clearing, hits: list[object], bars: bool) -> list[Write]:
        monkeypatch.setattr(Clearing, "_empty", empty)
        assert await store.save_many([event]) == [STORED]
        return await empty(self, hits, bars)  # type: ignore[arg-type]

    monkeypatch.setattr(Clearing, "_empty", replace_first)


@pytest.mark.slow
@pytest.mark.parametrize(("one", "left"), [(ALL, []), (Filter(ids=frozenset([OLD.id])), [NEW])])
async def test_what_another_writes_meanwhile_goes_only_if_it_is_meant_too(
    relays: Relays, monkeypatch: pytest.MonkeyPatch, one: Filter, left: list[Event]
) -> None:
    mine, other = relays
    assert await mine.save_many([OLD]) == [STORED]
    await _replacing(other, NEW, monkeypatch)
    assert await mine.remove([one]) == len(left) ^ 1
    assert await everything(mine) == left


@pytest.mark.slow
async def test_a_removal_that_fails_says_so_and_what_it_did_is_seen(relays: Relays) -> None:
    one, _ = relays
    assert await one.save_many(NOTES) == [STORED] * 5
    carry_out = inside(one).bulk.carry_out

    async def fail_one(writes: Sequence[Write]) -> None:
        writes[1].wrote, writes[1].reason = Wrote.FAILED, "the relay's store is busy"
        await carry_out(writes)

    inside(one).bulk.carry_out = fail_one  # type: ignore[method-assign]
    with pytest.raises(StoreError, match=r"^the relay's store is busy$"):
        await one.remove([ALL])
    assert await ask(one, ALL) == [NOTES[1]]


@pytest.mark.slow
async def test_nobody_removes_for_ever(relays: Relays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "LEAST_SECONDS", 0.001)
    one, _ = relays
    assert await one.save_many([OLD]) == [STORED]

    async def conflict(writes: Sequence[Write]) -> None:
        for write in writes:
            write.wrote = Wrote.CONFLICT

    inside(one).bulk.carry_out = conflict  # type: ignore[method-assign]
    with pytest.raises(StoreError, match=r"^the relay's store has too many writers at a time$"):
        await one.remove([ALL])


@pytest.mark.slow
async def test_what_is_being_written_when_a_removal_begins_goes_too(relays: Relays) -> None:
    one, _ = relays
    carry_out = inside(one).bulk.carry_out
    is_held, may_go = trio.Event(), trio.Event()

    async def hold(writes: Sequence[Write]) -> None:
        if writes[0].slot == slot_of(NOTES[0]) and not is_held.is_set():
            is_held.set()
            await may_go.wait()
        await carry_out(writes)

    inside(one).bulk.carry_out = hold  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.save_many, [NOTES[0]])
        await is_held.wait()
        nursery.start_soon(one.remove, [ALL])
        await trio.testing.wait_all_tasks_blocked()
        may_go.set()
    assert await everything(one) == []


@pytest.mark.slow
async def test_two_relays_that_sweep_at_once_remove_each_event_once(relays: Relays) -> None:
    one, other = relays
    over = [ALICE.event(f"{n}", tags=[["expiration", f"{NOW + n % 2}"]]) for n in range(20)]
    assert await one.save_many([*over, *NOTES]) == [STORED] * 25
    await one.refresh()
    removed: list[int] = []

    async def sweep(store: OpenSearchStore) -> None:
        store._clock = lambda: NOW
        removed.append(await store.sweep())

    async with trio.open_nursery() as nursery:
        for store in relays:
            nursery.start_soon(sweep, store)
    assert sum(removed) == 10
    assert len(await everything(other)) == 15


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "number"), [(None, 5), (0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (9, 5)])
async def test_records_come_in_pages(
    relays: Relays, monkeypatch: pytest.MonkeyPatch, limit: int | None, number: int
) -> None:
    monkeypatch.setattr(scan, "PAGE_HITS", 2)
    one, _ = relays
    assert await one.save_many(NOTES) == [STORED] * 5
    async with aclosing(one.records(replace(ALL, limit=limit))) as pages:
        found = [page async for page in pages]
    expected = [event.created_at.to_bytes(8, "big") + bytes.fromhex(event.id) for event in NOTES[::-1][:number]]
    assert found == [b"".join(expected[start : start + 2]) for start in range(0, number, 2)]
