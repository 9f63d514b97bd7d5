"""Random histories, sweeps and removals: the archive is what a naive twin remembers of all that has gone."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.test_archive import ON, Clock
from tests.support.backends import Backend, archived, everything
from tests.support.keys import NOW
from tests.support.marks import examples
from tests.support.oracles import NaiveArchive
from tests.support.strategies import PUBKEYS
from trio_relay import Event, Filter, Store
from trio_relay.nostr import event as nostr_event

pytestmark = pytest.mark.slow

Step: TypeAlias = Callable[[Store, NaiveArchive, Clock], Coroutine[Any, Any, None]]


def saving(batch: list[Event]) -> Step:
    async def save(store: Store, twin: NaiveArchive, clock: Clock) -> None:
        outcomes = [outcome.name.lower() for outcome in await store.save_many(batch)]
        assert outcomes == [twin.save(event) for event in batch]

    return save


async def sweep(store: Store, twin: NaiveArchive, clock: Clock) -> None:
    clock.now += 1
    assert await store.sweep() == twin.sweep(int(clock.now))


def removing(filter_: Filter) -> Step:
    async def remove(store: Store, twin: NaiveArchive, clock: Clock) -> None:
        await store.remove([filter_])
        twin.remove(filter_)

    return remove


KEYS: Final = PUBKEYS[:2]
OVER: Final = [["expiration", str(NOW + 2)]]


def made(pubkey: str, at: int, kind: int, *tags: list[str]) -> Event:
    event_id = nostr_event.compute_id(pubkey, NOW + at, kind, list(tags), "")
    return Event(event_id, pubkey, NOW + at, kind, list(tags), "", "5" * 128)


def what_goes(key: str) -> list[Event]:
    """Versions, notes, and gift wraps to a key, some of which expire."""
    versions = [made(key, at, kind, ["d", "x"]) for kind in (0, 30_023) for at in range(3)]
    notes = [made(key, at, 1, *tags) for at in range(2) for tags in ([], OVER)]
    wraps = [made(PUBKEYS[2], at, 1_059, ["p", key], *tags) for at in range(2) for tags in ([], OVER)]
    return [*versions, *notes, *wraps, made(key, 1, 0, *OVER)]


def requests(key: str) -> list[Event]:
    """What has a key's events go."""
    by_id = [made(key, 1, 5, ["e", event.id]) for event in what_goes(key)]
    by_address = [
        made(key, at, 5, ["a", f"{kind}:{key}:"], ["a", f"{kind}:{key}:x"]) for kind in (0, 30_023) for at in (0, 2)
    ]
    return [*by_id, *by_address, *(made(key, at, 62, ["relay", "ALL_RELAYS"]) for at in range(2))]


GOING: Final = [event for key in KEYS for event in what_goes(key)]
ASKING: Final = [event for key in KEYS for event in requests(key)]
events = st.sampled_from(GOING) | st.sampled_from(GOING) | st.sampled_from(ASKING)
"""Few, so that they meet."""
a_removal = st.builds(
    Filter,
    ids=st.none() | st.frozensets(st.sampled_from([event.id for event in GOING]), max_size=4),
    authors=st.none() | st.frozensets(st.sampled_from(PUBKEYS), min_size=1, max_size=2),
    kinds=st.frozensets(st.sampled_from([0, 1, 5, 1_059, 30_023]), min_size=1, max_size=2),
).map(removing)
a_batch = st.lists(events, min_size=2, max_size=8).map(saving)
stories = st.lists(a_batch | a_batch | a_batch | st.just(sweep) | a_removal, min_size=10, max_size=20)


def test_the_archive_is_what_a_naive_one_remembers(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples))
    @given(stories)
    def check(story: list[Step]) -> None:
        async def main() -> None:
            twin, clock = NaiveArchive(), Clock()
            clock.now = float(NOW)
            async with backend.open(ON, clock) as store:
                for step in story:
                    await step(store, twin, clock)
                    assert await everything(store) == twin.standing
                    found = await archived(store)
                    assert len(found) == len(twin.archive)
                    assert {(one.id, one.reason.value, one.by) for one in found} == twin.archive

        trio.run(main)

    check()
