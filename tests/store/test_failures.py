"""A batch that fails leaves nothing behind, is told as a `StoreError`, and doesn't hinder the next one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from types import ModuleType
from typing import Final

import apsw
import pytest

from tests.store.files import opened
from tests.store.inside import inside
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Filter, Saved, StoreError
from trio_relay.store.sqlite import SqliteStore, batch_writer, deletes

OLD, NEW = (ALICE.event(kind=0, created_at=NOW + age, tags=[["t", "x"]]) for age in range(2))
NOTE, OTHER = (ALICE.event(text, created_at=NOW + 2, tags=[["t", "x"]]) for text in ("note", "other"))
KEPT = [OLD, NOTE]
# It replaces, deletes, inserts what expires, buries, and lets somebody vanish.
BATCH = [
    OTHER,
    NEW,
    ALICE.event(kind=5, tags=[["e", NOTE.id], ["a", f"30023:{ALICE.pubkey}:x"], ["expiration", str(2**40)]]),
    BOB.event(kind=62, tags=[["relay", "ALL_RELAYS"]]),
]


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    """A store that holds `KEPT`."""
    async with opened(path) as store:
        await store.save_many(KEPT)
        yield store


async def stays_as_it_was_and_works_on(store: SqliteStore) -> None:
    """Nothing of `BATCH` is there, and it can be stored now."""
    assert await everything(store) == KEPT
    assert await ask(store, Filter(tags=(("t", frozenset("x")),))) == [NOTE, OLD]
    assert await store.known([event.id for event in BATCH]) == set()
    await store.probe()
    assert await store.save_many(BATCH) == [Saved.STORED] * 4
    assert await everything(store) == BATCH
    assert await ask(store, Filter(tags=(("t", frozenset("x")),))) == [OTHER, NEW]
    assert await store.save_many([NOTE, OTHER]) == [Saved.DELETED, Saved.DUPLICATE]


async def test_a_full_disk_stores_nothing_of_the_batch(store: SqliteStore) -> None:
    connection = inside(store).connection
    connection.pragma("max_page_count", connection.pragma("page_count"))
    with pytest.raises(StoreError, match=r"^the relay's disk is full$"):
        await store.save_many([*BATCH, ALICE.event("x" * 100_000)])
    connection.pragma("max_page_count", 1_000_000)
    await stays_as_it_was_and_works_on(store)


async def test_a_full_disk_can_still_be_read(store: SqliteStore) -> None:
    connection = inside(store).connection
    connection.pragma("max_page_count", connection.pragma("page_count"))
    for number in range(3):
        with pytest.raises(StoreError):
            await store.save_many([ALICE.event(f"{number}" * 100_000)])
        assert await everything(store) == KEPT


STATEMENTS: Final = {
    "_FACTS": batch_writer,
    "_BODIES": deletes,
    "DELETE_TAGS": deletes,
    "DELETE_WORDS": deletes,
    "_DELETE": deletes,
    "_BELONGING": deletes,
    "INSERT_EVENTS": batch_writer,
    "INSERT_TAGS": batch_writer,
    "INSERT_EXPIRIES": batch_writer,
    "INSERT_TOMBSTONES": batch_writer,
}


@pytest.mark.parametrize(("statement", "module"), STATEMENTS.items(), ids=STATEMENTS)
async def test_a_statement_that_fails_takes_the_whole_batch_back(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, statement: str, module: ModuleType
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, statement, "SELECT * FROM nowhere WHERE ?1")
        with pytest.raises(StoreError, match=r"^the relay's store failed \(SQLError\)$"):
            await store.save_many(BATCH)
    await stays_as_it_was_and_works_on(store)


async def test_a_lone_event_whose_question_fails_is_not_stored(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(batch_writer, "_IS_NEW", "SELECT * FROM nowhere")
        with pytest.raises(StoreError, match=r"^the relay's store failed \(SQLError\)$"):
            await store.save_many(BATCH[:1])
    await stays_as_it_was_and_works_on(store)


async def test_a_commit_that_fails_takes_the_whole_batch_back(store: SqliteStore) -> None:
    """The transaction is over then, without a ROLLBACK."""
    inside(store).connection.set_commit_hook(lambda: True)
    with pytest.raises(StoreError, match=r"^the relay's store failed \(ConstraintError\)$"):
        await store.save_many(BATCH)
    inside(store).connection.set_commit_hook(None)
    await stays_as_it_was_and_works_on(store)


async def test_a_bug_while_judging_takes_the_batch_back_and_is_not_hidden(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(batch_writer, "judge", lambda _batch, _facts: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await store.save_many(BATCH)
    await stays_as_it_was_and_works_on(store)


async def test_a_store_that_takes_no_writes_says_so_when_probed(store: SqliteStore) -> None:
    inside(store).connection.pragma("query_only", True)
    for attempt in (store.probe(), store.save_many(BATCH)):
        with pytest.raises(StoreError, match=r"^the relay's store failed \(ReadOnlyError\)$"):
            await attempt
    inside(store).connection.pragma("query_only", False)
    await stays_as_it_was_and_works_on(store)


async def test_an_answer_that_fails_is_a_store_error_and_the_next_one_is_given(store: SqliteStore) -> None:
    """More failures than there are connections to read with."""
    rename(store, "event", "elsewhere")
    for _ in range(3):
        for attempt in (ask(store, Filter()), everything(store), store.known([NOTE.id])):
            with pytest.raises(StoreError, match=r"^the relay's store failed \(SQLError\)$"):
                await attempt
    rename(store, "elsewhere", "event")
    await stays_as_it_was_and_works_on(store)


async def test_a_scan_that_fails_midway_is_a_store_error(store: SqliteStore) -> None:
    async with aclosing(store.scan()) as pages:
        assert len(await anext(pages)) == 2
        rename(store, "event", "elsewhere")
        with pytest.raises(StoreError):
            await anext(pages)


def rename(store: SqliteStore, table: str, name: str) -> None:
    """Take a table away from the store, or give it back."""
    connection = apsw.Connection(str(store._path))
    connection.execute(f"ALTER TABLE {table} RENAME TO {name}")
    connection.close()


async def test_a_connection_that_cannot_be_opened_is_a_failure_of_the_store(store: SqliteStore, path: Path) -> None:
    """What counts the store now and then opens one of its own: a relay that cannot goes on without the number."""
    path.rename(path.with_name("elsewhere"))  # noqa: ASYNC240  # nothing else runs
    for ask_store in (store.tally, store.space):
        with pytest.raises(StoreError, match="CantOpen"):
            await ask_store()
    with pytest.raises(StoreError, match="CantOpen"):
        await anext(store.inspect())
    assert await everything(store) == KEPT
