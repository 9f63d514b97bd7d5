"""The index of words on SQLite: switched off and on again, made for older files, and gone with its events."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw
import pytest
import structlog
import trio
from msgspec.structs import replace

from tests.store import version_1
from tests.store.files import opened_for_reading, options
from tests.store.inside import inside
from tests.store.older import make_older
from tests.support.backends import ask, everything
from tests.support.keys import ALICE, BOB, NOW, made_up
from trio_relay import Event, StoreError, open_sqlite
from trio_relay.nostr.filter import parse_filter
from trio_relay.store.sqlite import schema

TEA: Final = parse_filter({"search": "tea"})
ENGLISH: Final = parse_filter({"search": "language:en"})
LABEL: Final = ["l", "en", "ISO-639-1"]


def tea(number: int) -> Event:
    """One of those that are looked for: its number says when it came."""
    return ALICE.event(f"tea {number}", created_at=NOW + number, tags=[LABEL])


async def save(path: Path, *events: Event, search: bool = True) -> None:
    """Store events as a relay does that is started for it alone."""
    with trio.fail_after(30):
        async with open_sqlite(replace(options(path), search=search)) as store:
            await store.save_many(events)


async def found(path: Path) -> list[list[Event]]:
    """What a relay with search finds by word and by mark."""
    with trio.fail_after(30):
        async with open_sqlite(options(path)) as store:
            await store.worded.wait()
            rows = inside(store).connection.execute("SELECT count(*) FROM word").get
            assert rows == await store.count([parse_filter({"search": "tea"})])
            return [await ask(store, TEA), await ask(store, ENGLISH)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where there is no file yet."""
    return tmp_path / "relay.db"


async def test_off_nothing_is_kept_and_a_search_is_refused(path: Path) -> None:
    async with open_sqlite(replace(options(path), search=False)) as store:
        await store.save_many([tea(1)])
        for one in (TEA, ENGLISH):
            with pytest.raises(StoreError, match=r"^the relay keeps no index of words$"):
                await ask(store, one)
            with pytest.raises(StoreError, match=r"^the relay keeps no index of words$"):
                await store.count([one])
            assert store.query_nowait([one]) is None
        assert await store.count([parse_filter({})]) == 1
        assert inside(store).connection.execute(
            "SELECT (SELECT count(*) FROM word), (SELECT count(*) FROM tag)"
        ).get == (0, 1)


async def test_switched_on_again_what_came_meanwhile_is_found_too(
    path: Path, logged: list[structlog.typing.EventDict]
) -> None:
    await save(path, tea(1), tea(2))
    await save(path, tea(3), search=False)
    await save(path, tea(4), tea(5), search=False)
    assert logged == []
    expected = [tea(number) for number in (5, 4, 3, 2, 1)]
    assert await found(path) == [expected, expected]
    said = [
        {"event": "making the index of words beside the relay", "path": str(path), "events": 3, "log_level": "info"},
        {"event": "the index of words is complete", "path": str(path), "log_level": "info"},
    ]
    assert logged == said
    assert await found(path) == [expected, expected]
    assert logged == said


async def test_the_number_of_a_removed_event_is_not_given_again(path: Path) -> None:
    """Else the event that got it would pass for one whose words are kept."""
    await save(path, tea(1), tea(2))
    async with open_sqlite(replace(options(path), search=False)) as store:
        assert await store.remove([parse_filter({"ids": [tea(2).id]})]) == 1
    await save(path, tea(3), search=False)
    async with open_sqlite(replace(options(path), search=False)) as store:
        assert inside(store).connection.execute("SELECT group_concat(seq) FROM event").get == "1,3"
    assert await found(path) == [[tea(3), tea(1)]] * 2


async def test_what_is_removed_while_search_is_off_is_gone_from_the_index(path: Path) -> None:
    await save(path, tea(1), tea(2))
    await save(path, ALICE.event(kind=5, created_at=NOW + 9, tags=[["e", tea(1).id]]), search=False)
    assert await found(path) == [[tea(2)], [tea(2)]]


@pytest.mark.parametrize("version", [1, 2])
async def test_a_file_of_an_older_version_gets_its_words(path: Path, version: int) -> None:
    events = [tea(number) for number in range(20)]
    if version == 1:
        version_1.write(path, enumerate(events, 1))
    else:
        await save(path, *events, search=False)
        make_older(path, 2)
    assert await found(path) == [events[::-1]] * 2
    async with opened_for_reading(path) as reader:
        assert await ask(reader, TEA) == events[::-1]
        assert await everything(reader) == events


async def test_a_file_of_an_older_version_is_brought_over_without_words_where_search_is_off(path: Path) -> None:
    await save(path, tea(1), search=False)
    make_older(path, 2)
    await save(path, tea(2), search=False)
    connection = apsw.Connection(str(path))
    assert connection.pragma("user_version") == schema.VERSION
    connection.close()
    async with opened_for_reading(path) as reader:
        with pytest.raises(StoreError):
            await ask(reader, TEA)
    assert await found(path) == [[tea(2), tea(1)]] * 2


async def test_a_file_without_events_is_worded_at_once(path: Path, logged: list[structlog.typing.EventDict]) -> None:
    await save(path, search=False)
    assert await found(path) == [[], []]
    assert logged == []


async def test_events_without_words_leave_no_row(path: Path) -> None:
    await save(path, ALICE.event("🤙"), BOB.event("tea", kind=10_002), made_up("tea"))
    assert await found(path) == [[made_up("tea")], []]
