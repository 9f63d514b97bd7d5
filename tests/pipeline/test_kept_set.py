"""Whatever happens to a store, the kept set of a sync is what a fresh reading of the store would give."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipeline.test_syncing import found
from tests.support.backends import records
from tests.support.keys import NOW
from tests.support.pipeline import turns_of
from trio_relay import Filter, MemoryStore, SqliteOptions, Store, SyncOptions, open_sqlite
from trio_relay.nostr.access import NOBODY
from trio_relay.nostr.event import Event, compute_id
from trio_relay.pipeline.sync_sets import SyncSets

pytestmark = pytest.mark.slow

PUBKEYS: Final = [letter * 64 for letter in "abc"]
KINDS: Final = [0, 1, 1, 4, 1_059, 10_002, 30_023]

Clock: TypeAlias = Callable[[], float]
Step: TypeAlias = list[Event] | Filter | int
"""A batch that is saved, what an operator removes, or seconds that go by."""


@asynccontextmanager
async def _memory(clock: Clock) -> AsyncIterator[Store]:
    yield MemoryStore(clock)


@asynccontextmanager
async def _sqlite(clock: Clock) -> AsyncIterator[Store]:
    with TemporaryDirectory() as folder:
        options = SqliteOptions(path=f"{folder}/relay.db", synchronous="normal", readers=2)
        async with open_sqlite(options, clock=clock) as store:
            yield store


def made(pubkey: str, kind: int, created_at: int, tags: Sequence[Sequence[str]]) -> Event:
    carried = [list(tag) for tag in tags]
    event_id = compute_id(pubkey, created_at, kind, carried, "")
    return Event(event_id, pubkey, created_at, kind, carried, "", "5" * 128)


authors, ages = st.sampled_from(PUBKEYS), st.integers(0, 5)
expiries = st.none() | st.integers(1, 30)


@st.composite
def plain_events(draw: st.DrawFn) -> Event:
    tags = [["d", draw(st.sampled_from("xy"))], ["p", draw(authors)], ["t", draw(st.sampled_from("123456"))]]
    if (seconds := draw(expiries)) is not None:
        tags.append(["expiration", str(NOW + seconds)])
    return made(draw(authors), draw(st.sampled_from(KINDS)), NOW + draw(ages), tags)


@st.composite
def scripts(draw: st.DrawFn) -> list[Step]:
    pool = draw(st.lists(plain_events(), min_size=1, max_size=30))
    targets = st.lists(st.sampled_from(pool), min_size=1, max_size=3)

    def deletion(author: str, events: list[Event]) -> Event:
        return made(author, 5, NOW + 5, [["e", event.id] for event in events])

    requests = st.builds(deletion, authors, targets)
    vanishing = st.builds(lambda author, age: made(author, 62, NOW + age, [["relay", "ALL_RELAYS"]]), authors, ages)
    batch = st.lists(st.sampled_from(pool) | st.sampled_from(pool) | requests | vanishing, min_size=1, max_size=8)
    removal = st.builds(lambda author: Filter(authors=frozenset([author])), authors) | st.builds(
        lambda events: Filter(ids=frozenset(event.id for event in events)), targets
    )
    return draw(st.lists(batch | batch | removal | st.integers(1, 10), min_size=1, max_size=10))


async def _take(store: Store, step: Step) -> None:
    if isinstance(step, list):
        await store.save_many(step)
    elif isinstance(step, Filter):
        await store.remove([step])


@pytest.mark.parametrize(("open_store", "examples"), [(_memory, 150), (_sqlite, 40)], ids=["memory", "sqlite"])
def test_it_follows_whatever_happens(
    open_store: Callable[[Clock], AbstractAsyncContextManager[Store]], examples: int
) -> None:
    """It is looked at after each step, but it is read only once."""

    @settings(max_examples=examples)
    @given(scripts())
    def check(script: list[Step]) -> None:
        now = NOW

        async def main() -> None:
            nonlocal now
            async with open_store(lambda: now) as store:
                syncing = SyncSets(store, SyncOptions(), turns_of(10.0))
                for step in script:
                    await _take(store, step)
                    now += step if isinstance(step, int) else 0
                    fresh = {event_id for _, event_id in await records(store, Filter(reader=NOBODY))}
                    assert await found(syncing) == fresh
                assert syncing.statistics().sets_read == 1

        trio.run(main)

    check()
