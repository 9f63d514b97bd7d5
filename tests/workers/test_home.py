"""The store as the keeper's own relay has it: what it saves and removes has its place among what workers send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB
from tests.support.obedient_store import ObedientStore
from trio_relay import Filter
from trio_relay.nostr import event as events
from trio_relay.store import base, kept
from trio_relay.workers import home

NOTE, OTHER = ALICE.event("a note"), BOB.event("another")
OF_ALICE = Filter(authors=frozenset({ALICE.pubkey}))


class File(ObedientStore):
    """What is kept."""

    newest = 0

    async def remove_rows(self, seqs: object) -> int:
        raise AssertionError

    async def forget_archived(self, ids: object) -> None:
        raise AssertionError


@asynccontextmanager
async def at_home(file: ObedientStore, sent: list[events.Event]) -> AsyncIterator[tuple[home.HomeStore, list[str]]]:
    """The store over this file, and what happened to it; `sent` is what workers have sent before a removal."""
    happened: list[str] = []
    keeper = kept.Keeper(File(), 100)

    async def obeyed() -> None:
        happened.append("obeyed")
        await file.save_many(sent)

    keeper.told = lambda number, _seconds: happened.append(f"{number} committed by the keeper")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        yield home.HomeStore(file, obeyed, keeper), happened
        nursery.cancel_scope.cancel()


async def test_what_it_saves_is_committed_with_what_workers_send(autojump_clock: MockClock) -> None:
    file = ObedientStore()
    async with at_home(file, []) as (store, happened):
        assert await store.save_many([NOTE, OTHER]) == [base.Saved.STORED] * 2
        assert happened == ["2 committed by the keeper"]
        assert file.contents() == set()


async def test_without_a_keeper_it_saves_by_itself(autojump_clock: MockClock) -> None:
    file = ObedientStore()
    store = home.HomeStore(file, trio.lowlevel.checkpoint)
    assert await store.save_many([NOTE]) == [base.Saved.STORED]
    assert file.contents() == {NOTE.id}


async def test_what_workers_sent_before_they_knew_of_a_ban_is_removed_too(autojump_clock: MockClock) -> None:
    file = ObedientStore()
    async with at_home(file, [NOTE, OTHER]) as (store, happened):
        assert await store.remove([OF_ALICE]) == 1
        assert happened == ["obeyed"]
        assert file.contents() == {OTHER.id}


async def test_what_retention_forgets_waits_for_no_worker(autojump_clock: MockClock) -> None:
    file = ObedientStore()
    await file.save_many([NOTE, OTHER])
    async with at_home(file, []) as (store, happened):
        assert [[one.id for one in portion] async for portion in store.survey()] == [sorted([NOTE.id, OTHER.id])]
        assert await store.forget([NOTE.id]) == 1
        assert (happened, file.contents()) == ([], {OTHER.id})


async def test_all_else_is_the_file_s(autojump_clock: MockClock) -> None:
    file = ObedientStore(is_quick=True)
    await file.save_many([NOTE, OTHER])
    async with at_home(file, []) as (store, _):
        assert (store.is_shared, store.writers, store.readers) == (file.is_shared, file.writers, file.readers)
        assert (store.description, store.has_all_words) == (file.description, file.has_all_words)
        assert await ask(store, OF_ALICE) == [NOTE]
        assert store.query_nowait([OF_ALICE]) == [events.encode(NOTE)]
        assert await store.count([OF_ALICE]) == 1
        assert {event.id for event in await everything(store)} == {NOTE.id, OTHER.id}
        assert len(b"".join([page async for page in store.records(OF_ALICE)])) == 40
        assert await store.known([NOTE.id, "f" * 64]) == {NOTE.id}
        assert store.known_nowait([NOTE.id]) == {NOTE.id}
        await store.put_metadata({"a": b"b"})
        assert await store.get_metadata() == await file.get_metadata() == {"a": b"b"}
        assert await store.sketch(OF_ALICE, 8) == await file.sketch(OF_ALICE, 8)
        assert await store.sweep() == 0
        assert store.statistics() == file.statistics()
        assert not store.follow(None)
        file.failing["probe"] = "the disk is full"
        with pytest.raises(base.StoreError, match="the disk is full"):
            await store.probe()
