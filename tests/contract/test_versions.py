"""Which of several versions of an event a store keeps: duplicates, replaceable and addressable kinds (NIP-01)."""

from __future__ import annotations

from typing import Final

import pytest

from tests.contract.stories import Story, tell
from tests.support.keys import ALICE, BOB, NOW
from trio_relay import Event, Saved, Store

STORED, DUPLICATE, SUPERSEDED = Saved.STORED, Saved.DUPLICATE, Saved.SUPERSEDED


def profile(content: str = "", *, at: int = 0) -> Event:
    return ALICE.event(content, kind=0, created_at=NOW + at)


def article(d: str | None, content: str = "", *, at: int = 0, kind: int = 30_023) -> Event:
    return ALICE.event(content, kind=kind, created_at=NOW + at, tags=[] if d is None else [["d", d]])


NOTE = ALICE.event("note")
OLD, NEW, NEWEST = (profile(at=age) for age in range(3))
LOW, HIGH = sorted((profile("a"), profile("b")), key=lambda event: event.id)
LOW_ARTICLE, HIGH_ARTICLE = sorted((article("x", "a"), article("x", "b")), key=lambda event: event.id)


def replaces(old: Event, new: Event) -> Story:
    return Story([(old, STORED), (new, STORED)], [new])


def beside(event: Event, other: Event) -> Story:
    return Story([(event, STORED), (other, STORED)], [event, other])


STORIES: Final = {
    "nothing": Story([], []),
    "the same event twice": Story([(NOTE, STORED), (NOTE, DUPLICATE)], [NOTE]),
    "the same event three times": Story([(NOTE, STORED), (NOTE, DUPLICATE), (NOTE, DUPLICATE)], [NOTE]),
    "the same version twice": Story([(NEW, STORED), (NEW, DUPLICATE)], [NEW]),
    "two notes of one second": beside(NOTE, ALICE.event("another")),
    "a newer version": replaces(OLD, NEW),
    "an older version late": Story([(NEW, STORED), (OLD, SUPERSEDED)], [NEW]),
    "a replaced version again": Story([(OLD, STORED), (NEW, STORED), (OLD, SUPERSEDED)], [NEW]),
    "three versions upwards": Story([(OLD, STORED), (NEW, STORED), (NEWEST, STORED)], [NEWEST]),
    "three versions downwards": Story([(NEWEST, STORED), (NEW, SUPERSEDED), (OLD, SUPERSEDED)], [NEWEST]),
    "two versions around one between": Story([(NEW, STORED), (NEWEST, STORED), (OLD, SUPERSEDED)], [NEWEST]),
    "the lower id of one second after": replaces(HIGH, LOW),
    "the higher id of one second after": Story([(LOW, STORED), (HIGH, SUPERSEDED)], [LOW]),
    "the lower id of an article after": replaces(HIGH_ARTICLE, LOW_ARTICLE),
    "the higher id of an article after": Story([(LOW_ARTICLE, STORED), (HIGH_ARTICLE, SUPERSEDED)], [LOW_ARTICLE]),
    "contacts": replaces(ALICE.event(kind=3), ALICE.event(kind=3, created_at=NOW + 1)),
    "the first replaceable kind": replaces(ALICE.event(kind=10_000), ALICE.event(kind=10_000, created_at=NOW + 1)),
    "the last replaceable kind": replaces(ALICE.event(kind=19_999), ALICE.event(kind=19_999, created_at=NOW + 1)),
    "a regular kind below": beside(ALICE.event(kind=9_999), ALICE.event(kind=9_999, created_at=NOW + 1)),
    "a regular kind above": beside(article("x", kind=40_000), article("x", kind=40_000, at=1)),
    "a newer article": replaces(article("x"), article("x", at=1)),
    "the last addressable kind": replaces(article("x", kind=39_999), article("x", kind=39_999, at=1)),
    "an article without d and one with an empty d": replaces(article(None), article("", at=1)),
    "an article with a bare d and one with an empty d": replaces(
        ALICE.event(kind=30_023, tags=[["d"]]), article("", at=1)
    ),
    "only the first d counts": replaces(
        ALICE.event(kind=30_023, tags=[["d", "x"], ["d", "y"]]), article("x", "new", at=1)
    ),
    "a later d doesn't count": beside(ALICE.event(kind=30_023, tags=[["d", "x"], ["d", "y"]]), article("y", at=1)),
    "a d with colons": replaces(article("a:b:c"), article("a:b:c", at=1)),
    "a d of a thousand characters": replaces(article("d" * 1_000), article("d" * 1_000, at=1)),
    "two d of a thousand characters": beside(article("d" * 1_000 + "x"), article("d" * 1_000 + "y", at=1)),
    "two articles": beside(article("x"), article("y", at=1)),
    "d is case sensitive": beside(article("x"), article("X", at=1)),
    "one d of two kinds": beside(article("x"), article("x", kind=30_024, at=1)),
    "profiles of two authors": beside(OLD, BOB.event(kind=0, created_at=NOW + 1)),
    "d says nothing of a replaceable kind": replaces(
        ALICE.event(kind=10_002, tags=[["d", "x"]]), ALICE.event(kind=10_002, created_at=NOW + 1)
    ),
    "the first second of all": replaces(profile(at=-NOW), profile(at=1 - NOW)),
    "the last second of all": replaces(profile(at=0), profile(at=2**33 - 1 - NOW)),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_a_store_keeps_the_version_that_stands(store: Store, story: Story, at_once: bool) -> None:
    await tell(store, story, at_once=at_once)
