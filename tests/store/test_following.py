"""Who follows the store over SQLite hears of all that is committed, in its order, and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
import trio

from tests.store.files import opened
from tests.store.inside import inside
from tests.support.keys import ALICE, NOW, made_up
from trio_relay import Event, Filter, Saved, StoreError
from trio_relay.store.sqlite.store import SqliteStore

NOTES: Final = [made_up(str(number), created_at=NOW + number) for number in range(1_200)]
A, B, C = NOTES[:3]

Heard = list[tuple[list[Event], list[tuple[int, str]]]]


def place(event: Event) -> tuple[int, str]:
    return event.created_at, event.id


def following(store: SqliteStore) -> Heard:
    """What a listener hears from now on."""
    heard: Heard = []

    def listen(added: Sequence[Event], removed: Sequence[tuple[int, str]]) -> None:
        heard.append((list(added), list(removed)))

    assert store.follow(listen)
    return heard


async def test_commits_are_told_one_by_one_in_their_order(path: Path) -> None:
    async with opened(path) as store:
        heard = following(store)
        await store.save_many([A, B])
        await store.save_many([A])
        await store.remove([Filter(ids=frozenset([B.id]))])
        await store.save_many([B, C])
        assert heard == [([A, B], []), ([], [place(B)]), ([B, C], [])]


async def test_batches_of_many_tasks_are_told_in_the_order_of_their_commits(path: Path) -> None:
    """One that is stored, removed and stored again ends as it stands."""
    async with opened(path) as store:
        heard = following(store)
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(store.save_many, [NOTES[number], A])
                nursery.start_soon(store.remove, [Filter(ids=frozenset([A.id]))])
        standing: set[tuple[int, str]] = set()
        for added, removed in heard:
            assert standing.issuperset(removed)
            standing.difference_update(removed)
            assert standing.isdisjoint(map(place, added))
            standing.update(map(place, added))
        known = await store.known([event.id for event in NOTES[:20]])
        assert {event_id for _, event_id in standing} == known


async def test_a_large_removal_is_told_in_the_portions_in_which_it_is_made(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many(NOTES)
        heard = following(store)
        assert await store.remove([Filter()]) == len(NOTES)
        assert [(added, len(removed)) for added, removed in heard] == [([], 500), ([], 500), ([], 200)]
        assert {one for _, removed in heard for one in removed} == set(map(place, NOTES))


async def test_it_is_told_before_the_answer(path: Path) -> None:
    async with opened(path) as store:
        heard = following(store)
        told: list[int] = []

        async def save(event: Event) -> None:
            await store.save_many([event])
            told.append(sum(event in added for added, _ in heard))

        async with trio.open_nursery() as nursery:
            for event in NOTES[:10]:
                nursery.start_soon(save, event)
        assert told == [1] * 10


async def test_what_was_rolled_back_is_never_told(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([A])
        heard = following(store)
        connection = inside(store).connection
        connection.pragma("max_page_count", connection.pragma("page_count"))
        with pytest.raises(StoreError, match=r"^the relay's disk is full$"):
            await store.save_many([ALICE.event(kind=5, tags=[["e", A.id]]), ALICE.event("x" * 100_000)])
        connection.pragma("max_page_count", 1_000_000)
        assert heard == []
        await store.save_many([B])
        assert heard == [([B], [])]
        assert await store.known([A.id, B.id]) == {A.id, B.id}


async def test_a_commit_whose_task_is_cancelled_meanwhile_is_told_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It happens whole."""
    async with opened(path) as store:
        heard, save, token = following(store), inside(store).writer.save, trio.lowlevel.current_trio_token()

        def cancelled(batch: Sequence[Event]) -> list[Saved]:
            trio.from_thread.run_sync(scope.cancel, trio_token=token)
            return save(batch)

        monkeypatch.setattr(inside(store).writer, "save", cancelled)
        with trio.CancelScope() as scope:
            await store.save_many([A])
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert heard == [([A], [])]
        assert await store.known([A.id]) == {A.id}


async def test_a_commit_whose_task_is_cancelled_before_it_begins_is_none(path: Path) -> None:
    async with opened(path) as store:
        heard = following(store)
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.save_many([A])
        await store.save_many([B])
        assert heard == [([B], [])]


async def test_what_was_committed_before_anybody_followed_is_not_told(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([A])
        heard = following(store)
        store.follow(None)
        await store.save_many([B])
        again = following(store)
        await store.save_many([C])
        assert (heard, again) == ([], [([C], [])])
