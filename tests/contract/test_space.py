"""What a removal would take, by kind, and the room that a store takes: the same from every store."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.backends import Backend, everything
from tests.support.keys import ALICE, BOB, NOW, made_up
from tests.support.marks import examples
from trio_relay import Event, Filter, Store
from trio_relay.nostr import access
from trio_relay.store import base

KINDS = [1, 4, 7, 1_059, 30_023]


@st.composite
def mixed(draw: st.DrawFn) -> list[Event]:
    """Events of several kinds and ages, each with an id of its own; some have expired."""
    made = []
    for number in range(draw(st.integers(0, 25))):
        tags = [["expiration", str(NOW - 5)]] if draw(st.booleans()) else []
        kind, author = draw(st.sampled_from(KINDS)), draw(st.sampled_from("abc")) * 64
        tags.append(["d", str(number)])
        made.append(replace(made_up(f"{number}"), pubkey=author, created_at=NOW + number, kind=kind, tags=tags))
    return made


filters = st.builds(
    Filter,
    kinds=st.none() | st.frozensets(st.sampled_from(KINDS)),
    authors=st.none() | st.frozensets(st.sampled_from(["a" * 64, "b" * 64])),
    since=st.none() | st.integers(NOW, NOW + 25),
    limit=st.none() | st.just(1),
    reader=st.none() | st.just(access.NOBODY),
)


@pytest.mark.slow
def test_what_is_counted_by_kind_is_what_a_removal_removes(backend: Backend) -> None:
    """Private and expired events too, whatever limit and reader say."""

    @settings(max_examples=examples(backend.examples // 5 + 1))
    @given(mixed(), st.lists(filters, min_size=1, max_size=3))
    def check(stored: list[Event], asked: list[Filter]) -> None:
        async def main() -> None:
            async with backend.open() as store:
                await store.save_many(stored)
                meant = [replace(one, reader=None) for one in asked]
                naive = Counter(event.kind for event in stored if any(one.matches(event) for one in meant))
                assert await store.kinds_of(asked) == dict(sorted(naive.items()))
                assert await store.remove(asked) == naive.total()
                assert await store.kinds_of(asked) == {}

        trio.run(main)

    check()


async def test_words_tombstones_and_metadata_are_counted_beside_the_room(store: Store) -> None:
    before = await store.space()
    note = ALICE.event("some words", created_at=NOW)
    gone = BOB.event("", created_at=NOW)
    await store.save_many([note, gone, BOB.event(kind=5, tags=[["e", gone.id]], created_at=NOW)])
    await store.put_metadata({"name": b"value"})
    assert len(await everything(store)) == 2
    space = await store.space()
    assert (space.worded - before.worded, space.tombstones - before.tombstones) == (1, 1)
    assert (space.metadata - before.metadata, space.metadata_bytes - before.metadata_bytes) == (1, 9)
    assert space.log_bytes <= space.disk_bytes


async def test_compacting_loses_nothing(store: Store) -> None:
    """Nor does it make anything larger for good; a worker leaves it to the process that keeps the file."""
    notes = [ALICE.event("x" * 500, created_at=NOW + n) for n in range(200)]
    await store.save_many(notes)
    assert await store.remove([Filter(until=NOW + 149)]) == 150
    try:
        done = await store.compact()
    except base.CannotCompact:
        return
    assert done.before >= 0 <= done.after
    assert {event.id for event in await everything(store)} == {event.id for event in notes[150:]}
