"""Keys that have written much vanish in portions: others write meanwhile, and what is interrupted is finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import pytest
import trio

from tests.store.files import opened
from tests.store.inside import inside
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import Event, Filter, Saved
from trio_relay.store.sqlite import SqliteStore, deletes
from trio_relay.store.sqlite import store as store_module
from trio_relay.store.sqlite.batch_writer import insert_events

A = TypeVar("A")
B = TypeVar("B")

STORED, DUPLICATE, VANISHED, FAILED = Saved.STORED, Saved.DUPLICATE, Saved.VANISHED, Saved.FAILED


def asks(at: int, author: Author = ALICE) -> Event:
    return author.event(kind=62, created_at=NOW + at, tags=[["relay", "ALL_RELAYS"]])


def notes(author: Author = ALICE, count: int = 8) -> list[Event]:
    return [author.event(f"tea {number}", created_at=NOW + number) for number in range(count)]


MINE: Final = notes()
WRAP: Final = CAROL.event(kind=1_059, tags=[["p", ALICE.pubkey]])
OTHER: Final = BOB.event("other")
REQUEST, LATER = asks(100), asks(200)


@pytest.fixture(autouse=True)
def portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let two events make a portion."""
    monkeypatch.setattr(deletes, "AT_A_TIME", 2)


def put_by(store: SqliteStore) -> list[str]:
    """The ids of requests that are not carried out yet."""
    return [str(row[0]) for row in inside(store).connection.execute("SELECT id FROM vanishing").fetchall()]


async def test_others_are_stored_while_a_key_vanishes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[str] = []
    async with opened(path) as store:
        await store.save_many([*MINE, WRAP])

        def noted(name: str, work: Callable[[A], B]) -> Callable[[A], B]:
            def call(argument: A) -> B:
                log.append(name)
                return work(argument)

            return call

        monkeypatch.setattr(inside(store).writer, "vanish", noted("vanish", inside(store).writer.vanish))
        monkeypatch.setattr(inside(store).writer, "save", noted("save", inside(store).writer.save))

        async def save_other() -> None:
            while "vanish" not in log:
                await trio.lowlevel.checkpoint()
            assert await store.save_many([OTHER, ALICE.event("too old")]) == [STORED, VANISHED]

        async with trio.open_nursery() as nursery:
            nursery.start_soon(save_other)
            late = ALICE.event(created_at=NOW + 101)
            assert await store.save_many([late, REQUEST]) == [STORED, STORED]
        assert log.count("vanish") == 5
        assert log.index("save", 1) < len(log) - 1
        assert await everything(store) == [late, OTHER, REQUEST]
        assert put_by(store) == []
        assert await store.save_many([REQUEST, *MINE, WRAP]) == [DUPLICATE] + [VANISHED] * 9


async def test_who_follows_hears_of_each_portion(path: Path) -> None:
    heard: list[tuple[list[str], int]] = []

    def listener(added: Sequence[Event], removed: Sequence[tuple[int, str]]) -> None:
        heard.append(([event.id for event in added], len(removed)))

    async with opened(path) as store:
        await store.save_many(MINE[:5])
        store.follow(listener)
        await store.save_many([REQUEST, OTHER])
    assert heard == [([OTHER.id], 0), ([], 2), ([], 2), ([REQUEST.id], 1)]


async def test_few_events_vanish_in_the_commit_of_their_batch(path: Path) -> None:
    """Of several requests, those for which there is still room."""
    async with opened(path) as store:
        await store.save_many([*notes(ALICE, 1), *notes(BOB, 2), *notes(CAROL, 1)])
        assert inside(store).writer.save([asks(100, one) for one in (ALICE, BOB, CAROL)]) == [STORED] * 3
        assert put_by(store) == [asks(100, BOB).id]
        assert await everything(store) == [*notes(BOB, 2), asks(100, ALICE), asks(100, CAROL)]


@pytest.mark.parametrize("pages", [0, 10_000])
async def test_what_was_interrupted_is_finished_when_the_store_is_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    async with opened(path) as store:
        await store.save_many([*MINE, WRAP, OTHER])
        inside(store).writer.save([REQUEST])
        assert inside(store).writer.vanish(REQUEST.id) is False
        assert len(await everything(store)) == 8
        assert await store.known([REQUEST.id]) == set()
    monkeypatch.setattr(store_module, "PAGES_BEFORE_CHECKPOINT", pages)
    async with opened(path) as store:
        assert await everything(store) == [OTHER, REQUEST]
        assert put_by(store) == []
        assert await store.save_many([REQUEST, MINE[0], WRAP]) == [DUPLICATE, VANISHED, VANISHED]


async def test_what_was_interrupted_is_finished_when_the_request_comes_again(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many(MINE)
        inside(store).writer.save([REQUEST])
        assert await store.save_many([OTHER, REQUEST]) == [STORED, DUPLICATE]
        assert await ask(store, Filter()) == [REQUEST, OTHER]
        assert inside(store).writer.vanish(REQUEST.id) is True


async def test_a_later_request_takes_one_away_that_was_interrupted(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many(MINE)
        inside(store).writer.save([REQUEST])
        assert await store.save_many([LATER]) == [STORED]
        assert await everything(store) == [LATER]
        while not inside(store).writer.vanish(REQUEST.id):
            pass
        assert await everything(store) == [LATER]
    async with opened(path) as store:
        assert await everything(store) == [LATER]
        assert put_by(store) == []


async def test_a_portion_that_fails_fails_the_request_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent again, it goes on."""
    async with opened(path) as store:
        await store.save_many(MINE)
        vanish, calls = inside(store).writer.vanish, list[str]()

        def fail_later(request_id: str) -> bool:
            calls.append(request_id)
            with monkeypatch.context() as patch:
                if len(calls) == 2:
                    patch.setattr(deletes, "_DELETE", "DELETE FROM nowhere WHERE ?1")
                return vanish(request_id)

        with monkeypatch.context() as patch:
            patch.setattr(inside(store).writer, "vanish", fail_later)
            assert await store.save_many([OTHER, REQUEST]) == [STORED, FAILED]
        assert await everything(store) == [*MINE[:6], OTHER]
        assert await store.save_many([REQUEST]) == [DUPLICATE]
        assert await everything(store) == [OTHER, REQUEST]


@pytest.mark.parametrize("count", [1, 5])
async def test_a_request_that_was_stored_when_it_meant_nothing_is_carried_out_when_it_comes_again(
    path: Path, count: int
) -> None:
    """As by a relay of before NIP-62; nor is it taken for known before that."""
    async with opened(path) as store:
        await store.save_many([OTHER, *MINE[:count]])
        insert_events(inside(store).connection, [(99, REQUEST)])
    async with opened(path) as store:
        for ids in ([REQUEST.id], [REQUEST.id, OTHER.id]):
            assert REQUEST.id not in await store.known(ids)
        assert await store.save_many([REQUEST]) == [DUPLICATE]
        assert await everything(store) == [OTHER, REQUEST]
        for ids in ([REQUEST.id], [REQUEST.id, OTHER.id]):
            assert await store.known(ids) == set(ids)
        assert await store.save_many([REQUEST, MINE[0]]) == [DUPLICATE, VANISHED]


async def test_what_changes_much_lets_the_log_be_folded_back_in_between(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PAGES_BEFORE_CHECKPOINT", "PAGES_BEFORE_PAUSING"):
        monkeypatch.setattr(store_module, name, 0)
    async with opened(path) as store:
        await store.save_many(MINE)
        waited = list[bool]()
        wait = trio.Event.wait

        async def noted(event: trio.Event) -> None:
            waited.append(event is store._checkpoint_over)
            await wait(event)

        monkeypatch.setattr(trio.Event, "wait", noted)
        assert await store.save_many([REQUEST]) == [STORED]
        assert waited.count(True) >= 2
        assert await everything(store) == [REQUEST]
