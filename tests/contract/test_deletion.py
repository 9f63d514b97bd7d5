"""What a store forgets because its author asked, and for how long: NIP-09, by `e` and by `a`."""

from __future__ import annotations

from typing import Final

import pytest

from tests.contract.stories import Story, tell
from tests.support.keys import ALICE, BOB, NOW, Author
from trio_relay import Event, Saved, Store

STORED, DUPLICATE, SUPERSEDED, DELETED = Saved.STORED, Saved.DUPLICATE, Saved.SUPERSEDED, Saved.DELETED


def asks(*tags: list[str], at: int = 0, author: Author = ALICE, why: str = "") -> Event:
    return author.event(why, kind=5, created_at=NOW + at, tags=list(tags))


def e(event: Event) -> list[str]:
    return ["e", event.id]


def a(kind: int, d: str = "", author: Author = ALICE) -> list[str]:
    return ["a", f"{kind}:{author.pubkey}:{d}"]


def article(d: str = "x", content: str = "", *, at: int = 0) -> Event:
    return ALICE.event(content, kind=30_023, created_at=NOW + at, tags=[["d", d]])


NOTE, OTHER = ALICE.event("note"), ALICE.event("other")
REQUEST = asks(e(NOTE))
LATER = asks(e(OTHER), at=9)
OF_BOB = asks(e(NOTE), author=BOB)
OF_REQUEST = asks(e(REQUEST), at=1)

PROFILE, NEW_PROFILE, NEWEST_PROFILE = (ALICE.event(kind=0, created_at=NOW + age) for age in range(3))
OLD, NEW, NEWEST = (article(at=age) for age in range(3))
BY_A = asks(a(30_023, "x"), at=1)
COLONS = article("a:b:c")
BY_COLONS = asks(a(30_023, "a:b:c"))
BY_HALF = asks(a(30_023, "a"))
EARLY, LATE = asks(a(30_023, "x"), at=0), asks(a(30_023, "x"), at=2)
LOW, HIGH = sorted((article(content="a"), article(content="b")), key=lambda event: event.id)

STORIES: Final = {
    "by e, after": Story([(NOTE, STORED), (REQUEST, STORED)], [REQUEST]),
    "by e, before": Story([(REQUEST, STORED), (NOTE, DELETED)], [REQUEST]),
    "by e, and sent again": Story([(NOTE, STORED), (REQUEST, STORED), (NOTE, DELETED), (NOTE, DELETED)], [REQUEST]),
    "by e, older than its target": Story([(NOTE, STORED), (old := asks(e(NOTE), at=-9), STORED)], [old]),
    "by e, kept across later requests": Story(
        [(REQUEST, STORED), (LATER, STORED), (OTHER, DELETED), (NOTE, DELETED)], [REQUEST, LATER]
    ),
    "by e, several": Story(
        [(NOTE, STORED), (several := asks(e(OTHER), e(NOTE), a(0)), STORED), (PROFILE, DELETED), (OTHER, DELETED)],
        [several],
    ),
    "the request twice": Story([(NOTE, STORED), (REQUEST, STORED), (REQUEST, DUPLICATE)], [REQUEST]),
    "by e of another author, after": Story([(NOTE, STORED), (OF_BOB, STORED)], [NOTE, OF_BOB]),
    "by e of another author, before": Story([(OF_BOB, STORED), (NOTE, STORED)], [OF_BOB, NOTE]),
    "by e of another author and then the own": Story(
        [(OF_BOB, STORED), (NOTE, STORED), (REQUEST, STORED), (NOTE, DELETED)], [OF_BOB, REQUEST]
    ),
    "a request by e, after": Story([(REQUEST, STORED), (OF_REQUEST, STORED)], [REQUEST, OF_REQUEST]),
    "a request by e, before": Story([(OF_REQUEST, STORED), (REQUEST, STORED), (NOTE, DELETED)], [OF_REQUEST, REQUEST]),
    "an id in capitals": Story([(NOTE, STORED), (loud := asks(["e", NOTE.id.upper()]), STORED)], [NOTE, loud]),
    "tags without a value": Story([(NOTE, STORED), (bare := asks(["e"], ["a"], []), STORED)], [NOTE, bare]),
    "an id in a tag of another name": Story([(NOTE, STORED), (q := asks(["q", NOTE.id]), STORED)], [NOTE, q]),
    "the version that stands, by e": Story(
        [(NEW, STORED), (one := asks(e(NEW)), STORED), (NEW, DELETED), (OLD, DELETED), (NEWEST, STORED)], [one, NEWEST]
    ),
    "a replaced version, by e": Story(
        [(OLD, STORED), (NEW, STORED), (one := asks(e(OLD)), STORED), (OLD, DELETED)], [NEW, one]
    ),
    "what was replaced stays away after its successor's deletion": Story(
        [(OLD, STORED), (NEW, STORED), (one := asks(e(NEW)), STORED), (OLD, DELETED), (OLD, DELETED)], [one]
    ),
    "versions of the deleted one's second stay away, too": Story(
        [(HIGH, STORED), (LOW, STORED), (one := asks(e(LOW)), STORED), (HIGH, DELETED), (NEW, STORED)], [one, NEW]
    ),
    "by e, versions that never stood bar nothing": Story(
        [(one := asks(e(NEW)), STORED), (NEW, DELETED), (OLD, STORED)], [one, OLD]
    ),
    "by e of another author, and the address is free": Story(
        [(NEW, STORED), (one := asks(e(NEW), author=BOB), STORED), (NEWEST, STORED)], [one, NEWEST]
    ),
    "a profile by e": Story(
        [(NEW_PROFILE, STORED), (one := asks(e(NEW_PROFILE)), STORED), (PROFILE, DELETED), (NEWEST_PROFILE, STORED)],
        [one, NEWEST_PROFILE],
    ),
    "a version by e, then by an earlier a": Story(
        [(NEW, STORED), (one := asks(e(NEW)), STORED), (EARLY, STORED), (NEW, DELETED), (OLD, DELETED)], [one, EARLY]
    ),
    "a version by e, then by a later a": Story(
        [(OLD, STORED), (one := asks(e(OLD)), STORED), (LATE, STORED), (NEWEST, DELETED)], [one, LATE]
    ),
    "by a, up to the request's time": Story([(OLD, STORED), (BY_A, STORED), (OLD, DELETED)], [BY_A]),
    "by a, of the request's second": Story([(NEW, STORED), (BY_A, STORED), (NEW, DELETED)], [BY_A]),
    "by a, a version after the request stays": Story([(NEWEST, STORED), (BY_A, STORED)], [NEWEST, BY_A]),
    "by a, a version after the request is taken": Story(
        [(BY_A, STORED), (OLD, DELETED), (NEW, DELETED), (NEWEST, STORED), (NEW, DELETED)], [BY_A, NEWEST]
    ),
    "by a, then by an earlier request": Story([(LATE, STORED), (EARLY, STORED), (NEWEST, DELETED)], [LATE, EARLY]),
    "by a, then by a later request": Story(
        [(EARLY, STORED), (NEW, STORED), (LATE, STORED), (NEWEST, DELETED)], [EARLY, LATE]
    ),
    "by a, the lower id of a second": Story(
        [(HIGH, STORED), (LOW, STORED), (EARLY, STORED), (HIGH, DELETED), (LOW, DELETED)], [EARLY]
    ),
    "by a and e together": Story([(NEW, STORED), (both := asks(e(NEW), a(30_023, "x"), at=9), STORED)], [both]),
    "by a, d with colons, after": Story([(COLONS, STORED), (BY_COLONS, STORED)], [BY_COLONS]),
    "by a, d with colons, before": Story([(BY_COLONS, STORED), (COLONS, DELETED)], [BY_COLONS]),
    "by a, the d up to its first colon": Story([(COLONS, STORED), (BY_HALF, STORED)], [COLONS, BY_HALF]),
    "by a, an empty d": Story([(empty := article(""), STORED), (one := asks(a(30_023)), STORED)], [one]),
    "by a, a long d": Story([(one := asks(a(30_023, "d" * 999)), STORED), (article("d" * 999), DELETED)], [one]),
    "by a, another d": Story([(OLD, STORED), (one := asks(a(30_023, "y"), at=9), STORED)], [OLD, one]),
    "by a, another kind": Story([(OLD, STORED), (one := asks(a(30_024, "x"), at=9), STORED)], [OLD, one]),
    "by a, a replaceable kind, after": Story(
        [(NEW_PROFILE, STORED), (one := asks(a(0), at=1), STORED), (PROFILE, DELETED)], [one]
    ),
    "by a, a replaceable kind, before": Story(
        [(one := asks(a(0), at=1), STORED), (NEW_PROFILE, DELETED), (NEWEST_PROFILE, STORED)], [one, NEWEST_PROFILE]
    ),
    "by a of another author, after": Story(
        [(OLD, STORED), (one := asks(a(30_023, "x"), at=9, author=BOB), STORED)], [OLD, one]
    ),
    "by a of another author, before": Story(
        [(one := asks(a(30_023, "x"), at=9, author=BOB), STORED), (OLD, STORED)], [one, OLD]
    ),
    "by a, a regular kind": Story([(NOTE, STORED), (one := asks(a(1), at=9), STORED)], [NOTE, one]),
    "by a, requests": Story([(REQUEST, STORED), (one := asks(a(5), at=9), STORED)], [REQUEST, one]),
    "by a, the first second of all": Story(
        [(one := asks(a(0), at=-NOW), STORED), (ALICE.event(kind=0, created_at=0), DELETED)], [one]
    ),
    "superseded stays superseded after a request for an older time": Story(
        [(NEWEST, STORED), (EARLY, STORED), (OLD, DELETED), (NEW, SUPERSEDED)], [NEWEST, EARLY]
    ),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_a_store_forgets_what_its_author_asks_it_to(store: Store, story: Story, at_once: bool) -> None:
    await tell(store, story, at_once=at_once)
