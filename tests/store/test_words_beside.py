"""The index of words is made again beside the running relay, after an upgrade or by other rules; no ghost is left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import apsw
import pytest
import structlog
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from tests.store.files import opened, options
from tests.store.inside import inside
from tests.store.older import make_older
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, NOW
from trio_relay import Event, Filter, Saved, open_sqlite
from trio_relay.nostr.filter import parse_filter
from trio_relay.store.sqlite import SqliteStore, rows, store, words
from trio_relay.store.sqlite.batch_writer import BatchWriter

CAFES: Final = [ALICE.event(f"café {number}", created_at=NOW + number) for number in range(30)]
CAFE: Final = parse_filter({"search": "cafe"})
LABELLED: Final = ALICE.event("café here", created_at=NOW - 1, tags=[["l", "fr", "ISO-639-1"]])


def old_text(event: Event) -> str:
    """What an older make kept of an event: its words as they are written."""
    return event.content


async def make_old(path: Path, monkeypatch: pytest.MonkeyPatch, *, version: int = 4) -> None:
    """A file of an older version, with `CAFES` and words that were made by its rules."""
    with monkeypatch.context() as patch:
        patch.setattr(rows, "text_of", old_text)
        async with opened(path) as store:
            await store.save_many([*CAFES, LABELLED])
    make_older(path, version)


@asynccontextmanager
async def waiting(path: Path, monkeypatch: pytest.MonkeyPatch, portions: int) -> AsyncIterator[SqliteStore]:
    """The store on this file when it has made so many portions of words; it makes no more."""
    made, wait = 0, trio.Event()
    token = trio.lowlevel.current_trio_token()
    index_words = BatchWriter.index_words

    def index_some(writer: BatchWriter) -> int:
        nonlocal made
        if made == portions:
            token.run_sync_soon(wait.set)
            raise apsw.FullError("database or disk is full")  # which is tried again after a while
        made += 1
        return index_words(writer)

    with monkeypatch.context() as patch, trio.fail_after(60):
        patch.setattr(BatchWriter, "index_words", index_some)
        patch.setattr(words, "EVENTS_AT_A_TIME", 7)
        async with open_sqlite(options(path)) as store:
            await wait.wait()
            yield store


@pytest.mark.parametrize("version", [2, 4])
async def test_a_relay_with_an_older_file_stores_and_finds_at_once(
    path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    await make_old(path, monkeypatch, version=version)
    late = ALICE.event("Café late", created_at=NOW + 99)
    async with waiting(path, monkeypatch, portions=0) as store:
        assert await store.save_many([late]) == [Saved.STORED]
        assert await ask(store, Filter(kinds=frozenset([1]))) == [late, *CAFES[::-1], LABELLED]
        assert await ask(store, CAFE) == [late]
        # Of what is older, words that have always been kept so.
        digits = await ask(store, parse_filter({"search": "7"}))
        assert digits == ([CAFES[7]] if version == 4 else [])
        assert not store.worded.is_set()
    async with opened(path, worded=True) as store:
        assert await ask(store, CAFE) == [late, *CAFES[::-1], LABELLED]


async def test_a_restart_in_the_midst_goes_on_from_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_old(path, monkeypatch)
    for portions in range(1, 4):
        async with waiting(path, monkeypatch, portions=1) as store:
            assert len(await ask(store, CAFE)) == 7 * portions
            assert not store.worded.is_set()
    async with opened(path, worded=True) as store:
        assert await ask(store, CAFE) == [*CAFES[::-1], LABELLED]
        assert await store.count([CAFE]) == 31
        assert await ask(store, parse_filter({"search": "language:fr"})) == [LABELLED]
        assert inside(store).connection.execute("SELECT count(*) FROM word").get == 31


async def test_portions_are_small_in_events_and_in_characters(
    path: Path, monkeypatch: pytest.MonkeyPatch, logged: list[structlog.typing.EventDict]
) -> None:
    """So that no batch waits for long, whatever events there are."""
    large = [ALICE.event("x" * 150_000, created_at=NOW + 50 + number) for number in range(4)]
    await make_old(path, monkeypatch)
    async with open_sqlite(replace(options(path), search=False)) as one:
        await one.save_many(large)
    portions: list[int] = []
    index_words = BatchWriter.index_words

    def index_and_note(writer: BatchWriter) -> int:
        portions.append(index_words(writer))
        return portions[-1]

    monkeypatch.setattr(BatchWriter, "index_words", index_and_note)
    monkeypatch.setattr(words, "EVENTS_AT_A_TIME", 20)
    monkeypatch.setattr(store, "EVENTS_BETWEEN_NEWS", 30)
    async with opened(path, worded=True):
        pass
    assert portions == [20, 33, 35, 0]
    assert [entry.get("events") for entry in logged if "index of words" in entry["event"]] == [35, 33, None]


async def test_what_is_removed_or_replaced_in_the_midst_stays_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_old(path, monkeypatch)
    gone = [CAFES[2], CAFES[20]]
    async with waiting(path, monkeypatch, portions=1) as store:
        request = ALICE.event(kind=5, created_at=NOW + 99, tags=[["e", event.id] for event in gone])
        assert await store.save_many([request]) == [Saved.STORED]
    async with opened(path, worded=True) as store:
        left = [event for event in [*CAFES[::-1], LABELLED] if event not in gone]
        assert await ask(store, CAFE) == left
        assert inside(store).connection.execute("SELECT count(*) FROM word").get == len(left)


async def test_other_rules_make_all_words_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an update of Python, whose Unicode data know more letters."""
    async with opened(path) as store:
        await store.save_many(CAFES)
    with monkeypatch.context() as patch:
        patch.setattr(words, "RULES", "3, Unicode 99")
        patch.setattr(rows, "text_of", lambda event: f"third {event.content}")
        for _ in range(2):
            async with opened(path, worded=True) as store:
                assert await ask(store, parse_filter({"search": "third"})) == CAFES[::-1]
                assert await ask(store, CAFE) == []
    async with opened(path, worded=True) as store:
        assert await ask(store, parse_filter({"search": "third"})) == []
        assert await ask(store, CAFE) == CAFES[::-1]


async def test_by_the_same_rules_nothing_is_made_again(path: Path, logged: list[structlog.typing.EventDict]) -> None:
    for _ in range(2):
        async with opened(path, worded=True) as store:
            await store.save_many(CAFES)
    assert logged == []


async def test_without_search_the_words_are_made_when_it_is_on_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_old(path, monkeypatch)
    late = ALICE.event("Café late", created_at=NOW + 99)
    async with open_sqlite(replace(options(path), search=False)) as store:
        await store.worded.wait()
        await store.save_many([late])
    async with opened(path, worded=True) as store:
        assert await ask(store, CAFE) == [late, *CAFES[::-1], LABELLED]


async def test_a_full_disk_lets_the_words_wait(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    logged: list[structlog.typing.EventDict],
    mock_clock: MockClock,
) -> None:
    await make_old(path, monkeypatch)
    failed = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def fail(_: apsw.Connection, last: int) -> int:
        token.run_sync_soon(failed.set)
        raise apsw.FullError("database or disk is full")

    async with open_sqlite(options(path)) as one:
        with monkeypatch.context() as patch:
            patch.setattr("trio_relay.store.sqlite.batch_writer.index_portion", fail)
            await failed.wait()
            await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(store.SECONDS_AFTER_FAILURE)
        mock_clock.rate = 1_000
        await one.worded.wait()
        assert await ask(one, CAFE) == [*CAFES[::-1], LABELLED]
    assert {"event": "the index of words has to wait", "error": "the relay's disk is full", "log_level": "warning"} in (
        logged
    )


@pytest.mark.parametrize("later", ["", "quite different words"])
async def test_words_are_removed_by_number_whatever_the_text_gives_today(
    path: Path, monkeypatch: pytest.MonkeyPatch, later: str
) -> None:
    first, second = ALICE.event("a ghost"), ALICE.event("nobody", created_at=NOW + 1)
    async with opened(path) as store:
        await store.save_many([first])
        monkeypatch.setattr(rows, "text_of", lambda event: later)
        assert await store.remove([Filter(ids=frozenset([first.id]))]) == 1
        monkeypatch.undo()
        # The number is used again only if somebody takes away the note that it has been given.
        inside(store).connection.execute("UPDATE numbering SET last = 0").fetchall()
    async with opened(path) as store:
        await store.save_many([second])
        assert inside(store).connection.execute("SELECT seq FROM event").get == 1
        assert await ask(store, parse_filter({"search": "ghost"})) == []
        assert await store.count([parse_filter({"search": "ghost"})]) == 0
        assert await ask(store, parse_filter({"search": "nobody"})) == [second]
        assert await everything(store) == [second]


async def test_what_expires_is_forgotten_by_number_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ALICE.event("soon over", tags=[["expiration", str(NOW + 100)]])
    async with opened(path) as store:
        await store.save_many([first])
        monkeypatch.setattr(rows, "expiry_of", lambda event: None)
        await store.remove([Filter(ids=frozenset([first.id]))])
        assert inside(store).connection.execute("SELECT count(*) FROM expiry").get == 0


async def test_no_number_is_given_twice_so_no_mark_finds_another_event(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of tags and marks are found by keys that are made from the event."""
    async with opened(path) as store:
        await store.save_many([CAFES[0], LABELLED])
        monkeypatch.setattr(rows, "marks_of", lambda event: frozenset())
        await store.remove([Filter(ids=frozenset([LABELLED.id]))])
        monkeypatch.undo()
    async with opened(path) as store:
        await store.save_many([CAFES[1]])
        assert inside(store).connection.execute("SELECT group_concat(seq) FROM event").get == "1,3"
        assert await ask(store, parse_filter({"search": "language:fr"})) == []


async def test_ghosts_of_an_older_make_get_no_number_either(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(path) as store:
        await store.save_many([CAFES[0]])
        inside(store).connection.execute("INSERT INTO word (rowid, text) VALUES (2, 'ghost')").fetchall()
    make_older(path, 4)
    async with opened(path, worded=True) as store:
        await store.save_many([CAFES[1]])
        assert await ask(store, parse_filter({"search": "ghost"})) == []
        assert await ask(store, CAFE) == [CAFES[1], CAFES[0]]
