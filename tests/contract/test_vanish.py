"""What a request to vanish takes away, and what it bars for ever (NIP-62)."""

from __future__ import annotations

from typing import Final

import pytest

from tests.contract.stories import Story, tell
from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import Event, Saved, Store
from trio_relay.nostr.filter import Filter, parse_filter

STORED, DUPLICATE, SUPERSEDED, DELETED, VANISHED = (
    Saved.STORED,
    Saved.DUPLICATE,
    Saved.SUPERSEDED,
    Saved.DELETED,
    Saved.VANISHED,
)


def asks(at: int = 3, author: Author = ALICE, why: str = "") -> Event:
    return author.event(why, kind=62, created_at=NOW + at, tags=[["relay", "ALL_RELAYS"]])


def note(at: int = 0, author: Author = ALICE, kind: int = 1, tags: list[list[str]] | None = None) -> Event:
    return author.event(f"note {at}", kind=kind, created_at=NOW + at, tags=tags)


def wrap(*names: Author, at: int = 0) -> Event:
    return Author("nobody").event(
        "sealed", kind=1_059, created_at=NOW + at, tags=[["p", name.pubkey] for name in names]
    )


def deletes(event: Event, at: int, author: Author = ALICE) -> Event:
    return author.event(kind=5, created_at=NOW + at, tags=[["e", event.id]])


REQUEST, EARLY, LATE = asks(), asks(1), asks(9)
NOTE, LAST, NEXT = note(), note(3), note(4)
OF_BOB = note(0, BOB, tags=[["p", ALICE.pubkey]])
PROFILE, NEWER, NEWEST = note(0, kind=0), note(3, kind=0), note(4, kind=0)

STORIES: Final = {
    "all up to its second": Story([(NOTE, STORED), (LAST, STORED), (NEXT, STORED), (REQUEST, STORED)], [NEXT, REQUEST]),
    "what comes afterwards": Story(
        [(REQUEST, STORED), (NOTE, VANISHED), (LAST, VANISHED), (NEXT, STORED)], [REQUEST, NEXT]
    ),
    "what was there is sent again": Story(
        [(NOTE, STORED), (REQUEST, STORED), (NOTE, VANISHED), (NOTE, VANISHED)], [REQUEST]
    ),
    "the request twice": Story([(NOTE, STORED), (REQUEST, STORED), (REQUEST, DUPLICATE)], [REQUEST]),
    "others, and what they say of the key": Story([(OF_BOB, STORED), (REQUEST, STORED)], [OF_BOB, REQUEST]),
    "two keys": Story(
        [(OF_BOB, STORED), (NOTE, STORED), (REQUEST, STORED), (other := asks(author=BOB), STORED), (OF_BOB, VANISHED)],
        [REQUEST, other],
    ),
    "a later request too": Story(
        [(EARLY, STORED), (LAST, STORED), (LATE, STORED), (LAST, VANISHED), (NEXT, VANISHED)], [LATE]
    ),
    "an earlier request afterwards": Story([(LATE, STORED), (EARLY, VANISHED), (NEXT, VANISHED)], [LATE]),
    "another request of the same second": Story([(REQUEST, STORED), (asks(why="again"), VANISHED)], [REQUEST]),
    "requests to delete": Story(
        [(NOTE, STORED), (deletes(NOTE, 1), STORED), (REQUEST, STORED), (NOTE, VANISHED)], [REQUEST]
    ),
    "requests to delete that are newer": Story(
        [(deletion := deletes(NEXT, 5), STORED), (REQUEST, STORED), (NEXT, DELETED)], [deletion, REQUEST]
    ),
    "its own deletion by e has no effect": Story(
        [(REQUEST, STORED), (one := deletes(REQUEST, 5), STORED), (NOTE, VANISHED)], [REQUEST, one]
    ),
    "its own deletion by e before it came has no effect": Story(
        [(one := deletes(REQUEST, 5), STORED), (REQUEST, STORED), (NOTE, VANISHED)], [one, REQUEST]
    ),
    "an id spelt as the key, deleted": Story(
        [
            (one := ALICE.event(kind=5, created_at=NOW + 5, tags=[["e", ALICE.pubkey]]), STORED),
            (first := ALICE.event("first", created_at=0), STORED),
            (REQUEST, STORED),
            (first, VANISHED),
        ],
        [one, REQUEST],
    ),
    "at the first second of all": Story(
        [(one := asks(-NOW), STORED), (ALICE.event("first", created_at=0), VANISHED), (NOTE, STORED)], [one, NOTE]
    ),
    "the version that stands": Story([(PROFILE, STORED), (REQUEST, STORED), (PROFILE, VANISHED)], [REQUEST]),
    "a version that is newer": Story([(NEWEST, STORED), (REQUEST, STORED), (NEWER, VANISHED)], [NEWEST, REQUEST]),
    "a version comes anew": Story(
        [(NEWER, STORED), (REQUEST, STORED), (NEWEST, STORED), (NEWER, VANISHED)], [REQUEST, NEWEST]
    ),
    "wraps for the key": Story(
        [(wrap(ALICE), STORED), (wrap(BOB, ALICE), STORED), (stays := wrap(BOB), STORED), (REQUEST, STORED)],
        [stays, REQUEST],
    ),
    "wraps for the key afterwards": Story(
        [(REQUEST, STORED), (wrap(ALICE), VANISHED), (wrap(BOB, ALICE), VANISHED), (stays := wrap(BOB), STORED)],
        [REQUEST, stays],
    ),
    "wraps that are newer": Story(
        [(before := wrap(ALICE, at=4), STORED), (REQUEST, STORED), (after := wrap(ALICE, at=5), STORED)],
        [before, REQUEST, after],
    ),
    "wraps of its second": Story([(wrap(ALICE, at=3), STORED), (REQUEST, STORED)], [REQUEST]),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_a_store_forgets_who_asks_to_vanish(store: Store, story: Story, at_once: bool) -> None:
    await tell(store, story, at_once=at_once)


async def test_nothing_that_finds_it_is_left(store: Store) -> None:
    """And of others, whatever is alike."""
    tags = [["t", "tea"], ["expiration", str(2**33)], ["l", "en", "ISO-639-1"]]
    mine, other = (one.event("tea", created_at=NOW, tags=tags) for one in (ALICE, BOB))
    await store.save_many([mine, other, wrap(ALICE), wrap(ALICE, CAROL)])
    await store.save_many([REQUEST])
    for one in (
        Filter(tags=(("t", frozenset(["tea"])),)),
        Filter(kinds=frozenset([1])),
        Filter(ids=frozenset([mine.id, other.id])),
        parse_filter({"search": "tea"}),
        parse_filter({"search": "tea language:en"}),
    ):
        assert await ask(store, one) == [other]
        assert await store.count([one]) == 1
    assert await ask(store, Filter(tags=(("p", frozenset([ALICE.pubkey, CAROL.pubkey])),))) == []
    assert await ask(store, Filter(authors=frozenset([ALICE.pubkey]))) == [REQUEST]
    assert await store.count([Filter()]) == 2


@pytest.mark.slow
async def test_what_vanishes_may_be_much(store: Store) -> None:
    mine = [note(-number) for number in range(350)]
    wraps = [wrap(ALICE, at=-number) for number in range(150)]
    await store.save_many([*mine, OF_BOB, *wraps])
    assert await store.save_many([note(7, BOB), REQUEST, note(8)]) == [STORED] * 3
    assert await ask(store, Filter()) == [note(8), note(7, BOB), REQUEST, OF_BOB]
    assert await store.save_many([*mine[:2], *wraps[:2]]) == [VANISHED] * 4
