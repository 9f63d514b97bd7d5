"""NIP-01's `limit` and `until`: a default cuts nothing that the request itself bounds, and whoever pages gets on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.named_relay import AuthClient, open_client, open_named, rules_for
from tests.support.receiving import answered, synced
from trio_relay import Limits, MemoryStore, Store
from trio_relay.nostr.event import Event, compute_id


def crowd(number: int, at: int = 0, author: Author = ALICE, kind: int = 1, **tags: str) -> list[Event]:
    """Unsigned events of one second: stores do not look at signatures."""
    events = []
    for each in range(number):
        tag_list = [[name, value.format(each)] for name, value in tags.items()]
        content = f"{at} {each}"
        event_id = compute_id(author.pubkey, NOW + at, kind, tag_list, content)
        events.append(Event(event_id, author.pubkey, NOW + at, kind, tag_list, content, "5" * 128))
    return sorted(events, key=lambda event: event.id)


async def stored(store: Store, events: Sequence[Event]) -> list[str]:
    await store.save_many(events)
    return [event.id for event in events]


HOPELESS: Final[list[dict[str, Any]]] = [
    {"kinds": [99_999], "limit": 0},
    {"kinds": [65_536]},
    {"kinds": [2**70]},
    {"authors": []},
    {"since": 2, "until": 1},
    {"ids": ["0" * 64]},
]


@pytest.mark.parametrize("one", HOPELESS, ids=str)
async def test_what_no_event_can_match_finds_nothing_and_is_no_error(one: dict[str, Any]) -> None:
    """A client that takes CLOSED for the death of the connection asks so to see whether the relay still lives."""
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await answered(client, one) == ([], [])
        assert (await client.count(one))["count"] == 0
        assert await synced(client, one) == set()


async def test_a_kind_that_no_event_can_have_takes_nothing_from_others() -> None:
    store = MemoryStore()
    ids = await stored(store, crowd(2))
    async with open_named(store) as door, open_client(door) as client:
        assert await answered(client, {"kinds": [99_999, 1]}) == (ids, [])
        assert await client.ask_refused({"kinds": [-1]}) == "invalid: kinds must be a list of integers, each 0 or more"


async def test_all_of_the_ids_that_are_asked_for_come_without_a_limit(store: Store) -> None:
    ids = await stored(store, [event for at in (-1, 0) for event in crowd(750, at)])
    async with open_named(store) as door, open_client(door) as client:
        assert set((await answered(client, {"ids": ids}))[0]) == set(ids)
        assert len((await answered(client, {"ids": ids, "limit": 600}))[0]) == 600


async def test_all_of_the_addresses_that_are_asked_for_come_without_a_limit() -> None:
    store = MemoryStore()
    articles = await stored(store, crowd(700, kind=30_023, d="article {}"))
    profiles = [crowd(1, author=Author(f"author {each}"), kind=0)[0] for each in range(12)]
    await store.save_many(profiles)
    names = [f"article {each}" for each in range(700)]
    limits = Limits(default_limit=10, max_limit=1_000)
    async with open_named(store, rules_for(limits=limits)) as door, open_client(door) as client:
        asked = {"authors": [ALICE.pubkey], "kinds": [30_023], "#d": names}
        assert set((await answered(client, asked))[0]) == set(articles)
        assert len((await answered(client, {"authors": [e.pubkey for e in profiles], "kinds": [0]}))[0]) == 12
        assert len((await answered(client, {"kinds": [0]}))[0]) == 12  # all of one second
        assert len((await answered(client, {"kinds": [0], "limit": 10}))[0]) == 10


async def test_the_most_that_the_relay_gives_bounds_ids_too() -> None:
    store = MemoryStore()
    ids = await stored(store, [event for at in range(30) for event in crowd(1, at)])
    rules = rules_for(limits=Limits(default_limit=5, max_limit=20))
    async with open_named(store, rules) as door, open_client(door) as client:
        assert len((await answered(client, {"ids": ids}))[0]) == 20


async def walked(client: AuthClient, stored: Sequence[Event], asked: dict[str, Any]) -> list[str]:
    """All ids that a client sees which goes back from the oldest event of each page, by `until` alone."""
    times = {event.id: event.created_at for event in stored}
    seen: dict[str, None] = {}
    until = NOW + 10
    while True:
        ids, _ = await answered(client, {**asked, "until": until})
        if not ids:
            return list(seen)
        seen.update(dict.fromkeys(ids))
        oldest = min(times[event_id] for event_id in ids)
        until = oldest if oldest < until else until - 1


@pytest.mark.slow
@pytest.mark.parametrize("asked", [{"limit": 500}, {"limit": 100}, {}], ids=["500", "100", "no limit"])
async def test_ten_thousand_events_of_three_seconds_are_all_reached_by_until(
    store: Store, asked: dict[str, Any]
) -> None:
    events = [*crowd(3_334), *crowd(3_333, -1), *crowd(3_333, -2)]
    for start in range(0, len(events), 1_000):
        await store.save_many(events[start : start + 1_000])
    async with open_named(store) as door, open_client(door) as client:
        assert set(await walked(client, events, {"kinds": [1], **asked})) == {event.id for event in events}


async def test_a_page_that_lies_in_the_second_of_until_is_filled_up_from_a_hundred_events_on(store: Store) -> None:
    """ "Pages of 500 over 700 events of one second"; smaller limits are kept to the letter."""
    ids = await stored(store, crowd(700))
    older = await stored(store, crowd(5, -1))
    async with open_named(store) as door, open_client(door) as client:
        for limit, number in ((500, 700), (100, 700), (99, 99), (1, 1), (704, 704)):
            found, _ = await answered(client, {"kinds": [1], "until": NOW, "limit": limit})
            assert found == [*ids, *older][:number], limit
        assert (await answered(client, {"kinds": [1], "until": NOW + 1, "limit": 500}))[0] == ids[:500]
        assert (await answered(client, {"kinds": [1], "limit": 500}))[0] == ids[:500]


async def test_it_is_filled_up_to_the_most_that_the_relay_gives_and_no_further() -> None:
    store = MemoryStore()
    ids = await stored(store, crowd(300))
    rules = rules_for(limits=Limits(default_limit=100, max_limit=200))
    async with open_named(store, rules) as door, open_client(door) as client:
        for limit in (150, 200, 10_000):
            found, _ = await answered(client, {"until": NOW, "limit": limit})
            assert found == ids[:200], limit


async def test_several_filters_that_lie_in_the_second_of_until_are_filled_up_each(store: Store) -> None:
    notes = await stored(store, crowd(250))
    votes = await stored(store, crowd(150, author=BOB, kind=7))
    async with open_named(store) as door, open_client(door) as client:
        asked = [{"kinds": [kind], "until": NOW, "limit": 100} for kind in (1, 7)]
        found, _ = await answered(client, *asked)
        assert sorted(found) == sorted([*notes, *votes])
        small = [{"kinds": [kind], "until": NOW, "limit": 99} for kind in (1, 7)]
        assert len((await answered(client, *small))[0]) == 198


async def test_a_search_is_no_page_of_a_time() -> None:
    store = MemoryStore()
    await stored(store, crowd(150, t="tea"))
    async with open_named(store) as door, open_client(door) as client:
        assert len((await answered(client, {"search": "0", "until": NOW, "limit": 100}))[0]) == 100
