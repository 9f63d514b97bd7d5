"""What has gone is kept for operators: each version once, with the reason, and nothing that has to be forgotten."""

from __future__ import annotations

from typing import Final, TypeAlias

import pytest
import trio

from tests.support.backends import Backend, archived, ask, everything
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import Event, Filter, Saved
from trio_relay.nostr import event as nostr_event
from trio_relay.nostr import filter as filters
from trio_relay.store import archive

Departure: TypeAlias = archive.Departure
REPLACED, DELETED, EXPIRED = Departure.REPLACED, Departure.DELETED, Departure.EXPIRED
ON: Final = archive.Archiving(is_on=True)


class Clock:
    """The time of day, which a test sets."""

    def __init__(self) -> None:
        self.now = float(NOW + 1_000)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def told(store: archive.Archive, filter_: Filter | None = None) -> list[tuple[Event, Departure, str]]:
    """What the archive tells, in the order in which it went."""
    return [(nostr_event.decode(one.event), one.reason, one.by) for one in reversed(await archived(store, filter_))]


def profile(at: int, author: Author = ALICE, tags: list[list[str]] | None = None) -> Event:
    return author.event(f"profile {at}", kind=0, created_at=NOW + at, tags=tags)


def article(at: int, d: str = "x") -> Event:
    return ALICE.event(f"article {at}", kind=30_023, created_at=NOW + at, tags=[["d", d]])


def asks(*tags: list[str], author: Author = ALICE, at: int = 50) -> Event:
    return author.event(kind=5, created_at=NOW + at, tags=list(tags))


def vanishes(at: int = 60, author: Author = ALICE) -> Event:
    return author.event(kind=62, created_at=NOW + at, tags=[["relay", "ALL_RELAYS"]])


def wrap(*names: Author, at: int = 0, tags: list[list[str]] | None = None) -> Event:
    named = [["p", name.pubkey] for name in names]
    return Author("nobody").event("sealed", kind=1_059, created_at=NOW + at, tags=[*named, *(tags or [])])


OVER: Final = [["expiration", str(NOW + 500)]]
NOTE, LOST = ALICE.event("note"), ALICE.event("lost", tags=OVER)
ONE, TWO, THREE = profile(1), profile(2), profile(3)
BY_ID, BY_ADDRESS = asks(["e", NOTE.id]), asks(["a", f"30023:{ALICE.pubkey}:x"])
WRAP, OF_BOB = wrap(BOB, ALICE), wrap(BOB, at=1)
OF_WRAP = asks(["e", WRAP.id])

GONE: Final = {
    "nothing, while nothing goes": ([NOTE, ONE, BOB.event()], []),
    "versions, each by its successor": ([ONE, TWO, THREE], [(ONE, REPLACED, TWO.id), (TWO, REPLACED, THREE.id)]),
    "not what was superseded when it came": ([THREE, ONE, TWO], []),
    "of two versions of one second, the one with the higher id": (
        pair := sorted([profile(1), profile(1, tags=[["t", "x"]])], key=lambda event: event.id, reverse=True),
        [(pair[0], REPLACED, pair[1].id)],
    ),
    "what was deleted by its id": ([NOTE, BY_ID], [(NOTE, DELETED, BY_ID.id)]),
    "what was deleted by its address, in all versions": (
        [article(1), article(2), article(2, "y"), BY_ADDRESS],
        [(article(1), REPLACED, article(2).id), (article(2), DELETED, BY_ADDRESS.id)],
    ),
    "not what was deleted before it came": ([BY_ID, NOTE], []),
    "nothing that another has asked to delete": ([NOTE, asks(["e", NOTE.id], author=BOB)], []),
    "what was asked for twice, once": (
        [NOTE, BY_ID, asks(["e", NOTE.id], at=51)],
        [(NOTE, DELETED, BY_ID.id)],
    ),
    "a gift wrap that one of its recipients deletes": (
        [WRAP, OF_WRAP],
        [(WRAP, DELETED, OF_WRAP.id)],
    ),
    "an article that is deleted by its id": (
        [article(1), one := asks(["e", article(1).id])],
        [(article(1), DELETED, one.id)],
    ),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize(("events", "gone"), GONE.values(), ids=GONE)
async def test_the_archive_has(
    backend: Backend,
    clock: Clock,
    events: list[Event],
    gone: list[tuple[Event, Departure, str]],
    at_once: bool,
) -> None:
    async with backend.open(ON, clock) as store:
        for batch in [events] if at_once else [[event] for event in events]:
            await store.save_many(batch)
        assert await told(store) == gone
        assert {one.at for one in await archived(store)} <= {NOW + 1_000}
        assert {event.id for event, _, _ in gone}.isdisjoint(event.id for event in await everything(store))


async def test_what_has_expired_is_kept_when_it_is_swept(backend: Backend, clock: Clock) -> None:
    async with backend.open(ON, clock) as store:
        replaced = profile(1, tags=OVER)
        await store.save_many([LOST, NOTE, replaced])
        assert await told(store) == []
        clock.now += 5
        assert await store.sweep() == 2
        found = await told(store)
        assert sorted(found, key=str) == sorted([(LOST, EXPIRED, ""), (replaced, EXPIRED, "")], key=str)
        assert {one.at for one in await archived(store)} == {NOW + 1_005}


async def test_nothing_is_kept_while_it_is_off(backend: Backend, clock: Clock) -> None:
    async with backend.open(clock=clock) as store:
        await store.save_many([ONE, TWO, NOTE, LOST])
        await store.save_many([THREE, BY_ID])
        await store.sweep()
        assert await told(store) == []


VANISHED: Final = {
    "its versions and what it deleted": ([ONE, TWO, NOTE, BY_ID, vanishes()], []),
    "what has expired of it": ([LOST, vanishes()], []),
    "not what is newer": (
        [profile(61), profile(62), vanishes()],
        [(profile(61), REPLACED, profile(62).id)],
    ),
    "not what is newer and goes later": (
        [ONE, vanishes(), profile(61), profile(62)],
        [(profile(61), REPLACED, profile(62).id)],
    ),
    "what a newer version has replaced": ([ONE, profile(61), vanishes()], []),
    "not what others have": (
        [profile(1, BOB), profile(2, BOB), ONE, TWO, vanishes()],
        [(profile(1, BOB), REPLACED, profile(2, BOB).id)],
    ),
    "gift wraps to the key": (
        [WRAP, OF_BOB, one := asks(["e", WRAP.id], ["e", OF_BOB.id], author=BOB), vanishes()],
        [(OF_BOB, DELETED, one.id)],
    ),
    "gift wraps to the key that have expired": ([wrap(ALICE, tags=OVER), vanishes()], []),
    "not gift wraps that are newer": (
        [wrap(ALICE, at=61), one := asks(["e", wrap(ALICE, at=61).id], at=62), vanishes()],
        [(wrap(ALICE, at=61), DELETED, one.id)],
    ),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize(("events", "left"), VANISHED.values(), ids=VANISHED)
async def test_who_vanishes_takes_along_what_the_archive_has(
    backend: Backend,
    clock: Clock,
    events: list[Event],
    left: list[tuple[Event, Departure, str]],
    at_once: bool,
) -> None:
    async with backend.open(ON, clock) as store:
        for batch in [events] if at_once else [[event] for event in events]:
            await store.save_many(batch)
            if not at_once:
                await store.sweep()
        assert await told(store) == left


@pytest.mark.slow
async def test_much_may_vanish_from_the_archive(backend: Backend, clock: Clock) -> None:
    async with backend.open(ON, clock) as store:
        for start in range(0, 1_200, 100):
            await store.save_many(
                [ALICE.event(str(start), kind=10_002, created_at=NOW - 2_000 + at) for at in range(start, start + 100)]
            )
        await store.save_many([profile(1, BOB), profile(2, BOB)])
        assert len(await archived(store)) == 1_200
        assert await store.save_many([vanishes()]) == [Saved.STORED]
        assert await told(store) == [(profile(1, BOB), REPLACED, profile(2, BOB).id)]


async def test_what_an_operator_removes_goes_from_the_archive_too(backend: Backend, clock: Clock) -> None:
    async with backend.open(ON, clock) as store:
        await store.save_many([ONE, TWO, THREE, NOTE, BY_ID, profile(1, BOB), profile(2, BOB)])
        assert await store.remove([Filter(ids=frozenset([ONE.id]), limit=0)]) == 0
        assert [event for event, _, _ in await told(store)] == [TWO, NOTE, profile(1, BOB)]
        await store.remove([filters.parse_filter({"search": "note"})])
        assert [event for event, _, _ in await told(store)] == [TWO, profile(1, BOB)]
        assert await store.remove([Filter(authors=frozenset([ALICE.pubkey]))]) == 2
        assert [event for event, _, _ in await told(store)] == [profile(1, BOB)]
        await store.remove([Filter()])
        assert await told(store) == []


async def test_what_stands_again_is_not_in_the_archive_until_it_goes_again(backend: Backend, clock: Clock) -> None:
    async with backend.open(ON, clock) as store:
        await store.save_many([ONE, TWO])
        await store.remove([Filter(ids=frozenset([TWO.id]))])
        assert await store.save_many([ONE]) == [Saved.STORED]
        assert await told(store) == []
        clock.now += 7
        await store.save_many([THREE])
        assert await told(store) == [(ONE, REPLACED, THREE.id)]
        assert [one.at for one in await archived(store)] == [NOW + 1_007]


async def test_the_archive_forgets_what_went_too_long_ago(backend: Backend, clock: Clock) -> None:
    async with backend.open(archive.Archiving(is_on=True, seconds=100), clock) as store:
        await store.save_many([ONE, TWO])
        clock.now += 60
        await store.save_many([THREE])
        await store.sweep()
        assert len(await archived(store)) == 2
        clock.now += 41
        assert await store.sweep() == 0
        assert await told(store) == [(TWO, REPLACED, THREE.id)]
        clock.now += 60
        await store.sweep()
        assert await told(store) == []


ASKED: Final = {
    "all": (Filter(), [ONE, TWO, NOTE, article(1)]),
    "an id": (Filter(ids=frozenset([TWO.id])), [TWO]),
    "ids": (Filter(ids=frozenset([TWO.id, NOTE.id, THREE.id, *(f"{n:064x}" for n in range(9))])), [TWO, NOTE]),
    "an author": (Filter(authors=frozenset([ALICE.pubkey])), [ONE, TWO, NOTE, article(1)]),
    "authors": (Filter(authors=frozenset([BOB.pubkey, CAROL.pubkey])), []),
    "a kind": (Filter(kinds=frozenset([0])), [ONE, TWO]),
    "an address": (
        Filter(authors=frozenset([ALICE.pubkey]), kinds=frozenset([30_023]), tags=(("d", frozenset(["x"])),)),
        [article(1)],
    ),
    "another address": (Filter(kinds=frozenset([30_023]), tags=(("d", frozenset(["y"])),)), []),
    "times": (Filter(since=NOW + 2, until=NOW + 2), [TWO]),
    "the last": (Filter(limit=2), [NOTE, article(1)]),
    "none": (Filter(limit=0), []),
    "nothing": (Filter(ids=frozenset()), []),
    "a word": (filters.parse_filter({"search": "profile"}), [ONE, TWO]),
    "a domain, which nobody looks up": (filters.parse_filter({"search": "domain:example.com"}), []),
}


@pytest.mark.parametrize(("asked", "found"), ASKED.values(), ids=ASKED)
async def test_the_archive_answers_filters(backend: Backend, clock: Clock, asked: Filter, found: list[Event]) -> None:
    async with backend.open(ON, clock) as store:
        for event in (ONE, TWO, THREE, NOTE, article(1), BY_ID, article(2)):
            await store.save_many([event])
        assert [event for event, _, _ in await told(store, asked)] == found


@pytest.mark.slow
async def test_a_long_archive_is_told_in_pages_each_once(backend: Backend, clock: Clock) -> None:
    versions = [ALICE.event("x" * 3_000, kind=0, created_at=NOW + at) for at in range(1_101)]
    async with backend.open(ON, clock) as store:
        for start in range(0, len(versions), 100):
            await store.save_many(versions[start : start + 100])
        assert [event for event, _, _ in await told(store)] == versions[:-1]
        last = await told(store, Filter(kinds=frozenset([0]), limit=700))
        assert [event for event, _, _ in last] == versions[400:-1]


async def test_what_is_archived_is_found_by_nobody_else(backend: Backend, clock: Clock) -> None:
    async with backend.open(ON, clock) as store:
        await store.save_many([ONE, NOTE, LOST, wrap(BOB, tags=OVER)])
        await store.save_many([TWO, BY_ID])
        await store.sweep()
        assert len(await archived(store)) == 4
        gone = [NOTE, LOST, ONE, wrap(BOB)]
        assert await ask(store, Filter(ids=frozenset(event.id for event in gone))) == []
        assert await store.known([event.id for event in gone]) == set()
        assert await store.count([Filter()]) == (await store.tally()).events == 2
        for word in ("note", "lost", "profile"):
            found = await ask(store, filters.parse_filter({"search": word}))
            assert found == ([TWO] if word == "profile" else [])


async def test_reading_the_archive_can_be_given_up(backend: Backend, clock: Clock) -> None:
    async with backend.open(ON, clock) as store:
        await store.save_many([ONE, TWO])
        with trio.CancelScope() as scope:
            scope.cancel()
            await archived(store)
        assert scope.cancelled_caught
        assert len(await archived(store)) == 1
