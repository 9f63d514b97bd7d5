"""Surveys of the SQLite store: portions that hold nothing, whatever comes, goes and is long between them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from tests.support.keys import ALICE, NOW, made_up
from trio_relay import Event, SqliteOptions, open_sqlite
from trio_relay.store.sqlite import survey


@pytest.fixture(autouse=True)
def short_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "PORTION_ROWS", 3)


def options(folder: Path) -> SqliteOptions:
    return SqliteOptions(path=str(folder / "relay.db"), synchronous="normal", readers=2)


def ordered(events: list[Event]) -> list[str]:
    return [event.id for event in sorted(events, key=lambda event: (-event.created_at, event.id))]


@pytest.mark.parametrize(
    "time_of",
    [lambda _number: NOW, lambda number: NOW + number, lambda number: NOW + number // 4],
    ids=["one second", "a second each", "some in a second"],
)
async def test_portions_follow_one_another_without_a_gap(tmp_path: Path, time_of: Callable[[int], int]) -> None:
    events = [made_up(str(number), created_at=time_of(number)) for number in range(20)]
    async with open_sqlite(options(tmp_path)) as store:
        await store.save_many(events)
        async with aclosing(store.survey()) as portions:
            found = [[one.id for one in portion] async for portion in portions]
        assert [len(portion) for portion in found] == [3] * 6 + [2]
        assert [one for portion in found for one in portion] == ordered(events)


async def test_what_comes_and_goes_between_portions_moves_nothing_else(tmp_path: Path) -> None:
    events = [made_up(str(number), created_at=NOW + number // 4) for number in range(20)]
    first, *_, last = ordered(events)
    async with open_sqlite(options(tmp_path)) as store:
        await store.save_many(events)
        found: list[str] = []
        async with aclosing(store.survey()) as portions:
            async for portion in portions:
                if not found:
                    await store.forget([*(one.id for one in portion), last])
                    await store.save_many([made_up("new", created_at=NOW + 99)])
                found += [one.id for one in portion]
        assert found == ordered(events)[:-1]
        assert first not in await store.known(found)


async def test_an_event_that_is_longer_than_an_answer_is_surveyed_with_its_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_relay.store.sqlite.fetch.PAGE_BYTES", 10_000)
    events = [
        ALICE.event(str(number), created_at=NOW + number, tags=[["t", "x" * 1_000]] * (30 if number == 4 else 1))
        for number in range(9)
    ]
    async with open_sqlite(options(tmp_path)) as store:
        await store.save_many(events)
        async with aclosing(store.survey(tagged=None)) as portions:
            found = [one.tags async for portion in portions for one in portion]
        assert found == [event.tags for event in reversed(events)]
