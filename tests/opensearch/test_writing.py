"""Batches into an index that others write too, and that fails in between: what is stored, and what is said of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.opensearch.cluster import Cluster, Index, scripted, standing
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Filter, Saved, StoreError
from trio_relay.nostr.event import Event, encode
from trio_relay.store import archive, opensearch
from trio_relay.store.opensearch.bulk import Bulk
from trio_relay.store.opensearch.cas import Records
from trio_relay.store.opensearch.clear import Clearing
from trio_relay.store.opensearch.documents import slot_of
from trio_relay.store.opensearch.others import Others
from trio_relay.store.opensearch.refresh import Refresher
from trio_relay.store.opensearch.save import Saver
from trio_relay.store.opensearch.tombstones import Tombstones

STORED, DUPLICATE, SUPERSEDED = Saved.STORED, Saved.DUPLICATE, Saved.SUPERSEDED
DELETED, FAILED = Saved.DELETED, Saved.FAILED
SECONDS = 5.0
AWAY = httpx.ConnectError("refused")
NOTE, OTHER = ALICE.event("note"), ALICE.event("other")
OLD, NEW, NEWEST = (ALICE.event(kind=0, created_at=NOW + age) for age in range(3))
REQUEST = ALICE.event(kind=5, created_at=NOW + 5, tags=[["e", NOTE.id]])


class Relay:
    """One of those that write an index."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.bulk = Bulk(cluster.client, "some", 2**20, SECONDS)
        self.vanishing = Tombstones(cluster.client, "some")
        others = Others(self.vanishing.learn)
        self.overlay = others.overlay
        self.records = Records(cluster.client, self.bulk, "some", others, SECONDS)
        refresher = Refresher(cluster.client, "some", self.overlay, 2.0)
        options, off = opensearch.OpenSearchOptions(), archive.NOTHING_KEPT
        index = opensearch.archive.ArchiveIndex(cluster.client, options, off, self.records, lambda: NOW)
        emptying = Clearing(cluster.client, self.bulk, "some", self.records, refresher, index)
        self.writing = Saver(self.bulk, self.records, others, self.vanishing, emptying, index)

    async def save(self, *events: Event) -> list[Saved]:
        return await self.writing.save(events)

    def known(self, *events: Event) -> set[str]:
        return self.overlay.known([event.id for event in events], trio.current_time())

    def asked(self) -> list[str]:
        """The kinds of requests, in order, which are forgotten then."""
        kinds = [asked.kind for asked in self.cluster.asked]
        self.cluster.asked.clear()
        return kinds


@asynccontextmanager
async def relay_on(index: Index) -> AsyncIterator[Relay]:
    async with scripted(index.answer) as cluster:
        yield Relay(cluster)


def put(index: Index, event: Event, **more: Any) -> None:
    """What another relay writes."""
    about = {"id": event.id, "pubkey": event.pubkey, "kind": str(event.kind), "event": encode(event).decode()}
    index.put(slot_of(event), **about | more)


async def test_plain_events_are_written_blindly_in_one_request() -> None:
    index = Index()
    async with relay_on(index) as relay:
        assert await relay.save(NOTE, OTHER) == [STORED, STORED]
        assert relay.asked() == ["_bulk"]
        assert index.events == standing([NOTE, OTHER])
        assert relay.known(NOTE, OTHER) == {NOTE.id, OTHER.id}


async def test_only_what_is_there_already_is_read() -> None:
    index = Index()
    put(index, NOTE)
    async with relay_on(index) as relay:
        assert await relay.save(NOTE, OTHER) == [DUPLICATE, STORED]
        assert relay.asked() == ["_bulk", "_mget"]
        # Next time it need not be verified.
        assert relay.known(NOTE) == {NOTE.id}


async def test_an_event_whose_answer_was_lost_is_stored_by_this_relay(autojump_clock: MockClock) -> None:
    index = Index()
    index.faults["_bulk"] = deque([Index.LOST])
    async with relay_on(index) as relay:
        assert await relay.save(NOTE, OTHER) == [STORED, STORED]
        assert relay.asked() == ["_bulk", "_bulk", "_mget"]
        assert {held.version for held in index.held.values()} == {1}
        # But it counts once.
        assert await relay.save(NOTE, NOTE) == [DUPLICATE, DUPLICATE]


async def test_so_is_a_version_and_a_request(autojump_clock: MockClock) -> None:
    index = Index()
    put(index, OLD)
    index.faults["_bulk"] = deque([Index.LOST])
    async with relay_on(index) as relay:
        assert await relay.save(NEW, NEW) == [STORED, DUPLICATE]
        index.faults["_bulk"] = deque([Index.LOST, Index.LOST])
        assert await relay.save(REQUEST) == [STORED]
        assert await relay.save(REQUEST, NOTE) == [DUPLICATE, DELETED]
    assert index.events == standing([NEW, REQUEST])


async def test_a_version_that_another_relay_writes_meanwhile_is_judged_against() -> None:
    index = Index()
    put(index, OLD)
    index.meanwhile["_bulk"] = deque([lambda: put(index, NEWEST)])
    async with relay_on(index) as relay:
        assert await relay.save(NEW) == [SUPERSEDED]
        assert relay.asked() == ["_mget", "_bulk", "_mget"]
        assert relay.known(OLD, NEW) == set()
        assert index.events == standing([NEWEST])
        index.meanwhile["_bulk"] = deque([lambda: put(index, NEWEST, until=3)])
        later = ALICE.event(kind=0, created_at=NOW + 9)
        assert await relay.save(later) == [STORED]
        assert index.events == standing([later])
        assert index.held[slot_of(later)].source["until"] == 3


async def test_what_was_written_without_an_answer_is_seen_all_the_same(autojump_clock: MockClock) -> None:
    index = Index()
    async with relay_on(index) as relay:
        await relay.save(NOTE, OTHER, OLD)
        index.faults["_bulk"] = deque([Index.LOST, Index.LOST])
        assert await relay.save(NEW) == [STORED]
        assert await relay.save(REQUEST) == [STORED]
        recent = relay.overlay.recent()
        assert [state.event for state in recent.matching(Filter())] == [REQUEST, NEW, OTHER]
        assert recent.hides(slot_of(NOTE), 2)
        assert relay.known(NOTE, OTHER, OLD, NEW, REQUEST) == {OTHER.id, NEW.id, REQUEST.id}


async def test_nobody_is_undecided_for_ever() -> None:
    index = Index()
    put(index, OLD)
    index.meanwhile["_bulk"] = deque([lambda: put(index, OLD)] * 50)
    async with relay_on(index) as relay:
        with pytest.raises(StoreError, match=r"^the relay's store has too many writers at a time$"):
            await relay.save(NEW)
        # The next one has luck.
        index.meanwhile.clear()
        assert await relay.save(NEW) == [STORED]


async def test_a_request_is_written_last_once_its_targets_are_gone(autojump_clock: MockClock) -> None:
    index = Index()
    put(index, NOTE)
    index.item_faults[slot_of(NOTE)] = deque([400])
    async with relay_on(index) as relay:
        assert await relay.save(REQUEST, OTHER) == [FAILED, STORED]
        assert index.events == standing([NOTE, OTHER])  # no request stands that was not carried out
        assert await relay.save(REQUEST) == [STORED]
        assert index.events == standing([REQUEST, OTHER])
        assert await relay.save(NOTE) == [DELETED]


async def test_a_request_whose_own_write_fails_is_completed_by_the_next(autojump_clock: MockClock) -> None:
    index = Index()
    put(index, NOTE)
    index.item_faults[slot_of(REQUEST)] = deque([400])
    async with relay_on(index) as relay:
        with pytest.raises(StoreError, match=r"^the relay's store has refused it \(\)$"):
            await relay.save(REQUEST)
        assert index.events == set()
        assert await relay.save(REQUEST) == [STORED]
    assert index.events == standing([REQUEST])


async def test_a_request_finds_a_version_where_it_stands() -> None:
    index = Index()
    put(index, OLD)
    request = ALICE.event(kind=5, created_at=NOW + 5, tags=[["e", OLD.id], ["e", NOTE.id]])
    async with relay_on(index) as relay:
        assert await relay.save(request) == [STORED]
        assert relay.asked() == ["_mget", "_search", "_mget", "_bulk", "_bulk"]
        assert index.events == standing([request])
        assert await relay.save(OLD, NOTE, NEW) == [DELETED, DELETED, STORED]


async def test_a_request_finds_what_only_this_relay_has_seen_so_far() -> None:
    index = Index()
    request = ALICE.event(kind=5, created_at=NOW + 5, tags=[["e", OLD.id]])
    async with relay_on(index) as relay:
        assert await relay.save(OLD) == [STORED]
        index.faults["_search"] = deque([httpx.Response(200, json={"hits": {"hits": []}})])  # type: ignore[list-item]
        assert await relay.save(request) == [STORED]
        assert index.events == standing([request])
        assert relay.known(OLD, request) == {request.id}


async def test_a_request_is_not_hindered_by_anothers_of_the_same_batch() -> None:
    index = Index()
    put(index, OLD)
    requests = [author.event(kind=5, created_at=NOW + 5, tags=[["e", OLD.id]]) for author in (ALICE, BOB)]
    async with relay_on(index) as relay:
        assert await relay.save(*requests) == [STORED, STORED]
    assert index.events == standing(requests)


async def test_a_request_leaves_anothers_event_alone() -> None:
    index = Index()
    request = BOB.event(kind=5, created_at=NOW + 5, tags=[["e", OLD.id], ["e", NOTE.id]])
    async with relay_on(index) as relay:
        assert await relay.save(OLD, NOTE, request, OLD, NOTE) == [STORED, STORED, STORED, DUPLICATE, DUPLICATE]
    assert index.events == standing([OLD, NOTE, request])


async def test_an_event_fails_alone(autojump_clock: MockClock) -> None:
    index = Index()
    index.item_faults[slot_of(NOTE)] = deque([400])
    async with relay_on(index) as relay:
        assert await relay.save(NOTE, OTHER, NEW) == [FAILED, STORED, STORED]
        assert relay.known(NOTE) == set()
        assert await relay.save() == []


async def test_a_cluster_that_is_away_fails_the_batch_after_so_many_seconds(autojump_clock: MockClock) -> None:
    index = Index()
    for kind in ("_bulk", "_mget"):
        index.faults[kind] = deque([AWAY] * 100)
    async with relay_on(index) as relay:
        for event in (NOTE, NEW):
            began = trio.current_time()
            with pytest.raises(StoreError, match=r"^the relay's store is away$"):
                await relay.save(event)
            assert SECONDS - 2 <= trio.current_time() - began <= SECONDS + 0.001
            assert relay.bulk.trouble is None


async def test_reading_is_tried_again(autojump_clock: MockClock) -> None:
    index = Index()
    index.faults["_mget"] = deque([503, AWAY, Index.LOST])
    told: list[str | None] = []
    async with relay_on(index) as relay:
        index.meanwhile["_mget"] = deque([lambda: told.append(relay.bulk.trouble)] * 4)
        assert await relay.save(NEW) == [STORED]
        assert relay.bulk.trouble is None
    assert told == [None, "the relay's store is busy", *["the relay's store is away"] * 2]


async def test_a_register_that_cannot_be_read_is_not_taken_for_none() -> None:
    index = Index()
    broken = httpx.Response(200, json={"docs": [{"error": {"type": "x"}}, {"error": {"type": "x"}}]})
    index.faults["_mget"] = deque([broken])  # type: ignore[list-item]
    async with relay_on(index) as relay:
        with pytest.raises(StoreError, match=r"^the relay's store failed \(a record could not be read\)$"):
            await relay.save(NEW)
    assert index.held == {}


async def test_a_long_batch_lets_others_have_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_relay.turns.SECONDS", -1.0)  # after each event
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    batch = [ALICE.event(f"{n}") for n in range(20)]
    async with relay_on(Index()) as relay, trio.open_nursery() as nursery:
        create = relay.bulk.carry_out
        nursery.start_soon(count)

        async def carry_out(writes: Any) -> None:
            assert turns >= 19
            await create(writes)

        relay.bulk.carry_out = carry_out  # type: ignore[method-assign]
        assert await relay.save(*batch) == [STORED] * 20
        nursery.cancel_scope.cancel()


async def test_times_of_arrival_ascend_whatever_the_clock_does(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100, 50, 300])
    monkeypatch.setattr("time.time_ns", lambda: next(clock))
    async with relay_on(Index()) as relay:
        assert [list(relay.records.arrivals(number)) for number in (2, 3, 1)] == [[100, 101], [102, 103, 104], [300]]


async def test_who_hears_that_it_is_stored_finds_it_whoever_has_written_it() -> None:
    """An answer that was lost until the time was up: the event stands, and no refresh is due that would show it."""
    index = Index()
    put(index, NOTE)
    put(index, NEW)
    async with relay_on(index) as relay:
        assert await relay.save(NOTE, OLD) == [DUPLICATE, SUPERSEDED]
        states = [relay.overlay.recent().state(slot_of(event)) for event in (NOTE, OLD)]
    assert [state and state.event for state in states] == [NOTE, NEW]


async def test_a_batch_that_touches_very_many_registers_is_decided_in_parts() -> None:
    index = Index()
    requests = [
        ALICE.event(kind=5, tags=[["e", f"{number:064x}"] for number in range(start, start + 1_500)])
        for start in (0, 1_500)
    ]
    async with relay_on(index) as relay:
        assert await relay.save(*requests, OLD) == [STORED, STORED, STORED]
        # A part each, since two together would be more than 2,000; the version goes with the second.
        bulks = [len(asked.lines) // 2 for asked in relay.cluster.asked if asked.kind == "_bulk"]
    assert bulks == [1_500, 1, 1_501, 1]


async def test_no_two_documents_of_a_batch_arrive_at_the_same_time() -> None:
    index = Index()
    named = [["e", f"{number:064x}"] for number in range(300)]
    async with relay_on(index) as relay:
        assert await relay.save(NOTE, ALICE.event(kind=5, tags=named), OLD) == [STORED, STORED, STORED]
        arrived = [held.source["arrived"] for held in index.held.values()]
    assert len(set(arrived)) == len(arrived) == 303
