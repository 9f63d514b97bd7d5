"""The registers of a sketch are those of the keys that stand, whatever came, was replaced, deleted or has vanished."""

from __future__ import annotations

from random import Random
from typing import Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.backends import Backend, everything
from tests.support.keys import ALICE, BOB, NOW
from tests.support.marks import examples
from tests.support.oracles import naive_match, naive_registers
from trio_relay import Filter, Store
from trio_relay.nostr.event import Event, compute_id
from trio_relay.nostr.hyperloglog import CANONICAL, canonical_offset, offset_of

TARGETS: Final = ["0f" * 32, "9" * 64, f"30023:{'7c' * 32}:a:b", "tea", "", "F" * 64]
PUBKEYS: Final = [
    "a" * 64,
    *(Random(number).randbytes(32).hex() for number in range(6)),
    "00" * 32,
    "ab" * 9 + "00" * 23,
    "ff" * 12 + "0001" * 10,
]
SHAPES: Final = sorted((letter, sorted(kinds)) for letter, kinds in CANONICAL)


def reacting(
    pubkey: str, kind: int, letter: str, target: str, at: int = 0, more: list[list[str]] | None = None
) -> Event:
    tags = [[letter, target], *(more or [])]
    return Event(compute_id(pubkey, NOW + at, kind, tags, ""), pubkey, NOW + at, kind, tags, "", "5" * 128)


def counting(letter: str, kinds: list[int], target: str) -> Filter:
    return Filter(kinds=frozenset(kinds), tags=((letter, frozenset([target])),))


async def check(store: Store, filter_: Filter, kept: list[Event]) -> None:
    """The store's sketch is that of the naive twin."""
    offset = canonical_offset([filter_])
    assert offset is not None
    authors = [event.pubkey for event in kept if naive_match(filter_, event)]
    sketch = await store.sketch(filter_, offset)
    assert sketch.number == len(authors)
    assert sketch.registers == naive_registers(authors, offset)


@pytest.mark.parametrize(("letter", "kinds"), SHAPES, ids=lambda value: str(value))
async def test_a_canonical_filter_has_the_registers_of_its_authors(store: Store, letter: str, kinds: list[int]) -> None:
    """Of every target, however it is spelt; other kinds, letters and targets are not counted."""
    events = [
        reacting(pubkey, kind, letter, target)
        for target in TARGETS
        for kind in kinds
        for pubkey in PUBKEYS
        if kind != 3 or target == TARGETS[PUBKEYS.index(pubkey) % len(TARGETS)]
    ]
    others = [reacting(PUBKEYS[0], kind, other, TARGETS[0]) for kind in (1, 2, 7, 9_735) for other in "aXtP"]
    await store.save_many([*events, *others])
    for target in TARGETS:
        await check(store, counting(letter, kinds, target), events)


async def test_nothing_counts_nothing(store: Store) -> None:
    sketch = await store.sketch(counting("e", [7], TARGETS[0]), offset_of(TARGETS[0]))
    assert (sketch.number, sketch.registers) == (0, bytes(256))


async def test_who_speaks_twice_counts_twice_and_is_one_key(store: Store) -> None:
    events = [reacting(PUBKEYS[1], 7, "e", TARGETS[0], at) for at in range(3)]
    await store.save_many(events)
    sketch = await store.sketch(counting("e", [7], TARGETS[0]), offset_of(TARGETS[0]))
    assert sketch.number == 3
    assert sum(map(bool, sketch.registers)) == 1


async def test_an_event_that_names_its_target_twice_counts_once(store: Store) -> None:
    await store.save_many([reacting(PUBKEYS[1], 7, "e", TARGETS[0], more=[["e", TARGETS[0], "", "root"]])])
    sketch = await store.sketch(counting("e", [7], TARGETS[0]), offset_of(TARGETS[0]))
    assert sketch.number == 1


async def test_an_event_of_two_targets_is_seen_at_two_places(store: Store) -> None:
    event = reacting(PUBKEYS[2], 7, "e", TARGETS[0], more=[["e", TARGETS[1]]])
    await store.save_many([event])
    for target in TARGETS[:2]:
        await check(store, counting("e", [7], target), [event])


async def test_a_limit_plays_no_part(store: Store) -> None:
    await store.save_many([reacting(pubkey, 7, "e", TARGETS[0]) for pubkey in PUBKEYS])
    one = Filter(kinds=frozenset([7]), tags=(("e", frozenset([TARGETS[0]])),), limit=1)
    assert (await store.sketch(one, offset_of(TARGETS[0]))).number == len(PUBKEYS)


async def test_what_is_replaced_deleted_or_vanished_leaves_the_registers(store: Store) -> None:
    mine, other = (who.event(kind=7, tags=[["e", TARGETS[0]]]) for who in (ALICE, BOB))
    follows = ALICE.event(kind=3, tags=[["p", TARGETS[1]]])
    await store.save_many([mine, other, follows])
    reactions, followers = counting("e", [7], TARGETS[0]), counting("p", [3], TARGETS[1])
    await check(store, reactions, [mine, other])
    await check(store, followers, [follows])
    await store.save_many([ALICE.event(kind=5, created_at=NOW + 1, tags=[["e", mine.id]])])
    await check(store, reactions, [other])
    await store.save_many([ALICE.event(kind=3, created_at=NOW + 1)])
    await check(store, followers, [])
    await store.save_many([BOB.event(kind=62, created_at=NOW + 1, tags=[["relay", "ALL_RELAYS"]])])
    await check(store, reactions, [])


@st.composite
def histories(draw: st.DrawFn) -> list[list[Event]]:
    """Batches of reactions, their deletions, and requests to vanish."""
    one = st.builds(
        reacting,
        st.sampled_from(PUBKEYS),
        st.sampled_from([1, 3, 6, 7, 1_111]),
        st.sampled_from("eEpq"),
        st.sampled_from(TARGETS[:3]),
        st.integers(0, 3),
    )
    said = draw(st.lists(one, min_size=1, max_size=25))
    targets = draw(st.lists(st.sampled_from(said), max_size=4))
    ends = [reacting(target.pubkey, 5, "e", target.id, 2) for target in targets]
    ends += [
        reacting(pubkey, 62, "relay", "ALL_RELAYS", at)
        for pubkey, at in draw(st.lists(st.tuples(st.sampled_from(PUBKEYS), st.integers(0, 3)), max_size=2))
    ]
    history = draw(st.permutations([*said, *ends]))
    cut = draw(st.integers(0, len(history)))
    return [history[:cut], history[cut:]]


@pytest.mark.slow
def test_any_history_leaves_the_registers_of_what_stands(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples))
    @given(histories())
    def look(batches: list[list[Event]]) -> None:
        async def main() -> None:
            async with backend.open() as store:
                for batch in batches:
                    await store.save_many(batch)
                kept = await everything(store)
                for letter, kinds in SHAPES:
                    for target in TARGETS[:3]:
                        await check(store, counting(letter, kinds, target), kept)

        trio.run(main)

    look()
