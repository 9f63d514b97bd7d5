"""Two relays that write one index at once: of each address one version stands, and it is the right one."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.opensearch.inside import inside
from tests.support.backends import ask, everything
from tests.support.indices import emptied
from tests.support.keys import NOW, made_up
from tests.support.marks import examples
from tests.support.oracles import NaiveStore
from tests.support.strategies import histories
from trio_relay import Filter, Saved
from trio_relay.nostr.event import Event, compute_id
from trio_relay.store.opensearch import OpenSearchStore, open_opensearch
from trio_relay.store.opensearch.documents import slot_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("index")]

RACES = 1_000


@asynccontextmanager
async def relays() -> AsyncIterator[tuple[OpenSearchStore, OpenSearchStore]]:
    """Two stores that know nothing of each other, on one empty index."""
    with trio.fail_after(60):
        async with emptied() as one, open_opensearch(inside(one).options) as other:
            yield one, other


def version(address: int, number: int, created_at: int) -> Event:
    """A version of one of many addresses."""
    made = made_up(f"{number}", created_at=created_at)
    tags = [["d", f"{address}"]]
    event_id = compute_id(made.pubkey, created_at, 30_023, tags, made.content)
    return replace(made, id=event_id, kind=30_023, tags=tags)


def winner(versions: Sequence[Event]) -> Event:
    """NIP-01: the newest, and of several the one with the lowest id."""
    return min(versions, key=lambda event: (-event.created_at, event.id))


async def test_of_a_thousand_addresses_written_by_both_at_once_the_right_version_stands() -> None:
    chance = random.Random(1)
    told: dict[int, list[Event]] = {
        address: [version(address, number, NOW + chance.randrange(2)) for number in range(2)]
        for address in range(RACES)
    }
    outcomes: dict[str, Saved] = {}

    async def save(store: OpenSearchStore, events: list[Event]) -> None:
        for event, outcome in zip(events, await store.save_many(events), strict=True):
            outcomes[event.id] = outcome

    async with relays() as stores:
        for start in range(0, RACES, 25):
            addresses = range(start, start + 25)
            async with trio.open_nursery() as nursery:
                for place, store in enumerate(stores):
                    nursery.start_soon(save, store, [told[address][place] for address in addresses])
        for store in stores:
            kept = await everything(store)
            assert {event.id for event in kept} == {winner(versions).id for versions in told.values()}
            assert len(kept) == RACES
    # Whoever lost was stored for a moment, or came too late; whoever won was stored.
    assert {outcomes[winner(versions).id] for versions in told.values()} == {Saved.STORED}
    assert set(outcomes.values()) <= {Saved.STORED, Saved.SUPERSEDED}


async def test_a_thousand_versions_of_one_address_by_both_leave_the_right_one() -> None:
    chance = random.Random(2)
    told = [version(0, number, NOW + chance.randrange(100)) for number in range(RACES)]
    # Each replaces those before it, so that the relays meet all the time, and the end decides.
    told.sort(key=lambda event: event.created_at)
    slot = slot_of(told[0])

    async def save(store: OpenSearchStore, events: list[Event]) -> None:
        for start in range(0, len(events), 20):
            batch = events[start : start + 20]
            assert {*await store.save_many(batch)} <= {Saved.STORED, Saved.SUPERSEDED}
            # It never goes back behind what was answered.
            standing = (await inside(store).records.read([slot]))[slot].event
            assert standing is not None
            assert winner([standing, *batch]) == standing

    async with relays() as stores:
        async with trio.open_nursery() as nursery:
            for place, store in enumerate(stores):
                nursery.start_soon(save, store, told[place::2])
        for store in stores:
            assert await everything(store) == [winner(told)]
            assert await ask(store, Filter(kinds=frozenset([30_023]))) == [winner(told)]
            assert await store.save_many([told[0]]) == [
                Saved.DUPLICATE if told[0] == winner(told) else Saved.SUPERSEDED
            ]


@settings(max_examples=examples(10))
@given(histories(), st.lists(st.integers(1, 30), max_size=4))
def test_what_one_after_the_other_is_told_ends_as_with_one_relay(history: list[Event], cuts: list[int]) -> None:
    """Deletions by id and by address included: each relay looks at what the other has made searchable."""
    twin = NaiveStore()
    ends = [*sorted(cuts), len(history)]

    async def main() -> None:
        async with relays() as stores:
            for turn, (start, end) in enumerate(pairwise([0, *ends])):
                store = stores[turn % 2]
                part = history[start:end]
                outcomes = [outcome.name.lower() for outcome in await store.save_many(part)]
                assert outcomes == [twin.save(event) for event in part]
                await store.refresh()
            for store in stores:
                assert {event.id for event in await everything(store)} == {event.id for event in twin.standing}

    trio.run(main)


async def test_a_deletion_by_address_holds_against_what_the_other_relay_writes_at_the_same_time() -> None:
    """Whichever came first, no version up to the request's time stands, and a newer one does."""
    chance = random.Random(3)
    author = made_up().pubkey
    told = {address: [version(address, n, NOW + n) for n in range(3)] for address in range(100)}
    requests = []
    for address in told:
        tags = [["a", f"30023:{author}:{address}"]]
        request_id = compute_id(author, NOW + 1, 5, tags, "")
        requests.append(replace(made_up(created_at=NOW + 1), id=request_id, kind=5, tags=tags))

    async with relays() as (one, other):
        for start in range(0, len(told), 10):
            part = range(start, start + 10)
            versions = [event for address in part for event in chance.sample(told[address], 3)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.save_many, versions)
                nursery.start_soon(other.save_many, requests[start : start + 10])
        for store in (one, other):
            kept = {event.id for event in await everything(store)}
            assert kept == {event.id for event in requests} | {versions[2].id for versions in told.values()}
