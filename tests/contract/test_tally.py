"""Numbers of what is stored, and what would become of an event: the same from every store, and as the twins say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.backends import Backend
from tests.support.keys import ALICE, BOB, NOW, made_up
from tests.support.marks import examples
from tests.support.oracles import NaiveStore
from tests.support.strategies import histories
from trio_relay import Event, Store
from trio_relay.store import insight

DAY = 86_400


def naive_tally(events: Sequence[Event]) -> insight.Holdings:
    kinds = sorted(Counter(event.kind for event in events).items(), key=lambda one: (-one[1], one[0]))
    days = Counter(str(datetime.fromtimestamp(event.created_at, UTC).date()) for event in events)
    authors = sorted(Counter(event.pubkey for event in events).items(), key=lambda one: (-one[1], one[0]))
    expiries = [int(tag[1]) for event in events for tag in event.tags if tag[0] == "expiration"]
    return insight.Holdings(
        len(events),
        tuple(insight.OfKind(*one) for one in kinds[:100]),
        tuple(insight.OfDay(*one) for one in sorted(days.items(), reverse=True)[:60]),
        tuple(insight.OfAuthor(*one) for one in authors[:20]),
        insight.Expiring(len(expiries), min(expiries, default=None)),
    )


@st.composite
def spread(draw: st.DrawFn) -> list[Event]:
    """Events of several days, kinds and authors, each with an id of its own; some expire or have expired."""
    made = []
    for number in range(draw(st.integers(0, 30))):
        author = draw(st.sampled_from("abcdef")) * 64
        at = NOW + draw(st.integers(-3, 3)) * DAY // 2
        tags = [["expiration", str(NOW + draw(st.integers(-9, 9)))]] if draw(st.booleans()) else []
        kind = draw(st.sampled_from([1, 4, 7, 1_059, 1_111]))
        made.append(replace(made_up(f"{number}"), pubkey=author, created_at=at, kind=kind, tags=tags))
    return made


@pytest.mark.slow
def test_what_is_stored_is_counted_as_the_naive_tally_does(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples // 5 + 1))
    @given(spread())
    def check(stored: list[Event]) -> None:
        async def main() -> None:
            async with backend.open() as store:
                await store.save_many(stored)
                assert await store.tally() == naive_tally(stored)

        trio.run(main)

    check()


async def test_only_what_is_most_and_newest_is_told_one_by_one(store: Store) -> None:
    """A hundred kinds, sixty days and twenty authors; those that are left out are in the sum."""
    made = [
        replace(made_up(f"{n}"), kind=2_000 + n % 110, created_at=NOW - n % 70 * DAY, pubkey=f"{n % 25:064x}")
        for n in range(330)
    ]
    await store.save_many(made)
    found = await store.tally()
    assert (found.events, len(found.kinds), len(found.days), len(found.authors)) == (330, 100, 60, 20)
    assert found.days == naive_tally(made).days
    assert found.authors == naive_tally(made).authors
    assert {one.events for one in found.kinds} == {3}


async def test_an_empty_store_holds_nothing(store: Store) -> None:
    assert await store.tally() == naive_tally([])


async def test_what_is_deleted_and_the_relays_own_values_are_not_counted(store: Store) -> None:
    note = ALICE.event("a", created_at=NOW)
    request = ALICE.event(kind=5, created_at=NOW + 1, tags=[["e", note.id]])
    await store.save_many([note, BOB.event("b", created_at=NOW), request])
    await store.put_metadata({"name": b"value"})
    assert await store.tally() == naive_tally([BOB.event("b", created_at=NOW), request])


@pytest.mark.slow
def test_what_is_foreseen_of_an_event_is_what_becomes_of_it(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples // 5 + 1))
    @given(histories())
    def check(history: list[Event]) -> None:
        twin = NaiveStore()

        async def main() -> None:
            async with backend.open() as store:
                for event in history:
                    foreseen = await store.foresee(event)
                    assert await store.foresee(event) == foreseen
                    assert foreseen.name.lower() == twin.save(event)
                    assert await store.save_many([event]) == [foreseen]

        trio.run(main)

    check()
