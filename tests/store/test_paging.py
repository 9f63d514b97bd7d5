"""Answers longer than a page come in several, whole and in order, whatever the sizes of their events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Final

import pytest

from tests.store.files import opened
from tests.support.backends import lines
from tests.support.keys import ALICE, NOW, made_up
from trio_relay import Filter
from trio_relay.nostr.event import Event, encode
from trio_relay.store.base import Page
from trio_relay.store.sqlite import SqliteStore, fetch

PAGE: Final = 10_000
SIZES: Final = {
    "of one size": [500] * 60,
    "growing": [20 * number for number in range(100)],
    "one longer than a page": [10] * 20 + [3 * PAGE] + [10] * 20,
    "the newest longer than a page": [10] * 20 + [3 * PAGE],
    "the oldest longer than a page": [3 * PAGE] + [10] * 20,
    "all longer than a page": [2 * PAGE] * 4,
    "more than a page has rows": [0] * 1_100,
}


def events_of(sizes: list[int]) -> list[Event]:
    return [made_up("x" * size, created_at=NOW + at) for at, size in enumerate(sizes)]


@pytest.fixture
async def store(path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SqliteStore]:
    """A store with small pages."""
    monkeypatch.setattr(fetch, "PAGE_BYTES", PAGE)
    async with opened(path) as store:
        yield store


def no_page_is_too_long(pages: list[Page]) -> bool:
    return all(len(b"\n".join(page)) <= PAGE or len(page) == 1 for page in pages)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
async def test_a_long_answer_comes_in_pages_whole_and_in_order(store: SqliteStore, sizes: list[int]) -> None:
    events = events_of(sizes)
    await store.save_many(events)
    expected = [encode(event) for event in reversed(events)]
    for one in (Filter(limit=2_000), Filter(limit=2_000, ids=frozenset(event.id for event in events))):
        async with aclosing(store.query([one])) as answer:
            pages = [page async for page in answer]
        assert lines(pages) == expected
        assert len(pages) > 1
        assert no_page_is_too_long(pages)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
async def test_a_long_scan_comes_in_pages_whole_and_in_order(store: SqliteStore, sizes: list[int]) -> None:
    events = events_of(sizes)
    await store.save_many(events[::2])
    await store.save_many(events[1::2])
    async with aclosing(store.scan()) as scan:
        pages = [page async for page in scan]
    assert lines(pages) == [encode(event) for event in events[::2] + events[1::2]]
    assert no_page_is_too_long(pages)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
async def test_a_long_answer_is_not_given_on_the_loop(store: SqliteStore, sizes: list[int]) -> None:
    events = events_of(sizes)
    await store.save_many(events)
    newest = encode(events[-1])
    assert store.query_nowait([Filter(limit=2_000)]) is None
    for one in (Filter(limit=1), Filter(ids=frozenset([events[-1].id]), limit=1)):
        assert store.query_nowait([one]) == (None if len(newest) > PAGE else [newest])


async def test_an_answer_that_fits_comes_in_one_page(store: SqliteStore) -> None:
    events = events_of([0] * 20)
    await store.save_many(events)
    async with aclosing(store.query([Filter(limit=2_000)])) as answer:
        pages = [page async for page in answer]
    assert pages == [[encode(event) for event in reversed(events)]]


async def test_an_event_longer_than_a_page_is_removed_and_replaced_like_others(store: SqliteStore) -> None:
    old, new = (ALICE.event("x" * 3 * PAGE, kind=0, created_at=NOW + age, tags=[["t", "x"]]) for age in range(2))
    await store.save_many([old])
    await store.save_many([new])
    async with aclosing(store.query([Filter(limit=9), Filter(tags=(("t", frozenset("x")),), limit=9)])) as answer:
        assert [page async for page in answer] == [[encode(new)]]


async def test_an_event_removed_between_two_pages_is_left_out(store: SqliteStore) -> None:
    events = events_of([500] * 60)
    await store.save_many(events)
    async with aclosing(store.query([Filter(limit=2_000, kinds=frozenset([1]))])) as answer:
        pages = [await anext(answer)]
        await store.save_many([removal_of(events[0], events[20], events[-1])])
        pages += [page async for page in answer]
    left = [event for event in reversed(events) if event not in (events[0], events[20])]
    assert lines(pages) == [encode(event) for event in left]


async def test_an_answer_goes_on_behind_a_whole_page_that_is_removed(store: SqliteStore) -> None:
    events = events_of([0] * 1_600)[::-1]
    await store.save_many(events)
    async with aclosing(store.query([Filter(limit=2_000, kinds=frozenset([1]))])) as answer:
        pages = [await anext(answer)]
        await store.save_many([removal_of(*events[len(pages[0]) : 1_500])])
        pages += [page async for page in answer]
    assert lines(pages) == [*pages[0], *map(encode, events[1_500:])]


async def test_an_answer_whose_rest_is_removed_ends(store: SqliteStore) -> None:
    events = events_of([500] * 60)
    await store.save_many(events)
    async with aclosing(store.query([Filter(limit=2_000, kinds=frozenset([1]))])) as answer:
        first = await anext(answer)
        await store.save_many([removal_of(*events)])
        assert [page async for page in answer] == []
    assert first == [encode(event) for event in reversed(events)][: len(first)]


async def test_a_scan_goes_on_behind_what_is_removed_meanwhile(store: SqliteStore) -> None:
    events = events_of([0] * 1_100)
    await store.save_many(events)
    request = removal_of(*events[:1_000])
    async with aclosing(store.scan()) as scan:
        pages = [await anext(scan)]
        await store.save_many([request])
        pages += [page async for page in scan]
    assert lines(pages) == [*pages[0], *map(encode, events[1_000:]), encode(request)]


def removal_of(*events: Event) -> Event:
    return Event("d" * 64, events[0].pubkey, NOW, 5, [["e", event.id] for event in events], "", "5" * 128)
