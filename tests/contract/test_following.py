"""Who follows a store hears of every change: what was removed, then what was added, before the change is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pytest

from tests.support.backends import BACKENDS, Backend, everything
from tests.support.keys import ALICE, BOB, CAROL, NOW
from trio_relay import Event, Filter, Saved, Store

NOTE, OTHER = ALICE.event("note"), BOB.event("other")
OLD, NEW = (ALICE.event(kind=0, created_at=NOW + at) for at in range(2))
DELETION = ALICE.event(kind=5, tags=[["e", NOTE.id]])
VANISH = ALICE.event(kind=62, created_at=NOW + 1, tags=[["relay", "ALL_RELAYS"]])
WRAP = CAROL.event(kind=1_059, tags=[["p", ALICE.pubkey]])
OVER = BOB.event("over", tags=[["expiration", str(NOW)]])

Heard = tuple[set[str], set[tuple[int, str]]]


class Ear:
    """Remembers what it hears, and keeps what stands."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.standing: set[tuple[int, str]] = set()

    def __call__(self, added: Sequence[Event], removed: Sequence[tuple[int, str]]) -> None:
        self.heard.append(({event.id for event in added}, set(removed)))
        assert self.standing.issuperset(removed)
        self.standing -= set(removed)
        self.standing |= {(event.created_at, event.id) for event in added}

    def of_late(self) -> Heard:
        """All that came since this was asked last."""
        added: set[str] = set().union(*(added for added, _ in self.heard))
        removed: set[tuple[int, str]] = set().union(*(removed for _, removed in self.heard))
        self.heard.clear()
        return added, removed


def named(*events: Event) -> set[tuple[int, str]]:
    return {(event.created_at, event.id) for event in events}


FOLLOWED: Final = ["memory", "sqlite", "kept"]
"""Of the others nothing is heard: other relays write to them too."""


@pytest.fixture(params=FOLLOWED)
def backend(request: pytest.FixtureRequest) -> Backend:
    """One of those that can be followed."""
    return BACKENDS[request.param]


@pytest.fixture
def ear(store: Store) -> Ear:
    """Follows the store."""
    ear = Ear()
    assert store.follow(ear)
    return ear


SAVED: Final = {
    "new ones": ([], [NOTE, OTHER], [NOTE, OTHER], []),
    "known ones": ([NOTE], [NOTE, OTHER], [OTHER], []),
    "a newer version": ([OLD], [NEW], [NEW], [OLD]),
    "an older version": ([NEW], [OLD], [], []),
    "two versions at once": ([], [OLD, NEW], [NEW], []),
    "a deletion": ([NOTE, OTHER], [DELETION], [DELETION], [NOTE]),
    "a deletion of what comes with it": ([], [NOTE, DELETION], [DELETION], []),
    "a request to vanish": ([NOTE, OTHER, OLD, WRAP], [VANISH], [VANISH], [NOTE, OLD, WRAP]),
    "a request to vanish, after others": ([NOTE], [NEW, OTHER, VANISH], [OTHER, VANISH], [NOTE]),
    "nothing": ([NOTE], [], [], []),
}


@pytest.mark.parametrize(("before", "batch", "added", "removed"), SAVED.values(), ids=SAVED)
async def test_a_batch_tells_what_it_adds_and_removes(
    store: Store, ear: Ear, before: list[Event], batch: list[Event], added: list[Event], removed: list[Event]
) -> None:
    await store.save_many(before)
    ear.of_late()
    await store.save_many(batch)
    assert ear.of_late() == ({event.id for event in added}, named(*removed))
    assert ear.standing == named(*await everything(store))


async def test_a_removal_and_a_sweep_tell_what_they_remove(store: Store, ear: Ear) -> None:
    await store.save_many([NOTE, OTHER, OVER])
    ear.of_late()
    await store.remove([Filter(ids=frozenset([NOTE.id]))])
    assert ear.of_late() == (set(), named(NOTE))
    await store.sweep()
    assert ear.of_late() == (set(), named(OVER))
    await store.remove([Filter(ids=frozenset([NOTE.id]))])
    await store.sweep()
    assert ear.of_late() == (set(), set())
    assert ear.standing == named(OTHER)


async def test_what_is_forgotten_is_told_as_what_is_removed(store: Store, ear: Ear) -> None:
    await store.save_many([NOTE, OTHER])
    ear.of_late()
    assert await store.forget([NOTE.id, OVER.id]) == 1
    assert ear.of_late() == (set(), named(NOTE))
    assert ear.standing == named(OTHER)


async def test_what_is_kept_is_no_change(store: Store, ear: Ear) -> None:
    await store.save_many([NOTE])
    ear.of_late()
    await store.put_metadata({"a": b"1"})
    assert ear.heard == []


async def test_only_the_last_who_asked_is_told_and_none_after_none(store: Store, ear: Ear) -> None:
    another = Ear()
    assert store.follow(another)
    await store.save_many([NOTE])
    assert (ear.heard, another.of_late()) == ([], ({NOTE.id}, set()))
    store.follow(None)
    assert await store.save_many([OTHER]) == [Saved.STORED]
    assert another.heard == []
