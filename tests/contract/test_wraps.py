"""Gift wraps are deleted by those to whom they are addressed, and nothing else is (NIP-09, NIP-59)."""

from __future__ import annotations

from typing import Final

import pytest

from tests.contract.stories import Story, tell
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from trio_relay import Event, Saved, Store

STORED, DUPLICATE, DELETED = Saved.STORED, Saved.DUPLICATE, Saved.DELETED
NOBODY: Final = Author("nobody")


def wrap(*names: str, kind: int = 1_059) -> Event:
    return NOBODY.event("sealed", kind=kind, tags=[["p", name] for name in names])


def asks(author: Author, *events: Event) -> Event:
    return author.event(kind=5, created_at=NOW + 1, tags=[["e", event.id] for event in events])


WRAP, BOTH = wrap(ALICE.pubkey), wrap(BOB.pubkey, ALICE.pubkey)
OF_ALICE, OF_BOB, OF_NOBODY = (asks(one, WRAP) for one in (ALICE, BOB, NOBODY))
MENTION, MESSAGE, SEAL = (wrap(ALICE.pubkey, kind=kind) for kind in (1, 4, 13))
LOUD = wrap(ALICE.pubkey.upper())
BARE = NOBODY.event(kind=1_059, tags=[["p"], [], ["q", ALICE.pubkey]])

STORIES: Final = {
    "by whom it is for, after": Story([(WRAP, STORED), (OF_ALICE, STORED), (WRAP, DELETED)], [OF_ALICE]),
    "by whom it is for, before": Story([(OF_ALICE, STORED), (WRAP, DELETED)], [OF_ALICE]),
    "by its random key, after": Story([(WRAP, STORED), (OF_NOBODY, STORED), (WRAP, DELETED)], [OF_NOBODY]),
    "by its random key, before": Story([(OF_NOBODY, STORED), (WRAP, DELETED)], [OF_NOBODY]),
    "by another, after": Story([(WRAP, STORED), (OF_BOB, STORED), (WRAP, DUPLICATE)], [WRAP, OF_BOB]),
    "by another, before": Story([(OF_BOB, STORED), (WRAP, STORED)], [OF_BOB, WRAP]),
    "by another and then by whom it is for": Story(
        [(OF_BOB, STORED), (WRAP, STORED), (OF_ALICE, STORED), (WRAP, DELETED)], [OF_BOB, OF_ALICE]
    ),
    "for two, by the second, after": Story([(BOTH, STORED), (one := asks(ALICE, BOTH), STORED)], [one]),
    "for two, by the first, before": Story([(one := asks(BOB, BOTH), STORED), (BOTH, DELETED)], [one]),
    "for two, by a third": Story([(BOTH, STORED), (one := asks(CAROL, BOTH), STORED)], [BOTH, one]),
    "several, with what is not for the key": Story(
        [(WRAP, STORED), (BOTH, STORED), (MENTION, STORED), (one := asks(ALICE, WRAP, MENTION, BOTH), STORED)],
        [MENTION, one],
    ),
    "other kinds, after": Story(
        [(MESSAGE, STORED), (SEAL, STORED), (one := asks(ALICE, MESSAGE, SEAL), STORED)], [MESSAGE, SEAL, one]
    ),
    "other kinds, before": Story(
        [(one := asks(ALICE, MESSAGE, SEAL), STORED), (MESSAGE, STORED), (SEAL, STORED)], [one, MESSAGE, SEAL]
    ),
    "a name in capitals": Story([(LOUD, STORED), (one := asks(ALICE, LOUD), STORED)], [LOUD, one]),
    "no name at all": Story([(BARE, STORED), (one := asks(ALICE, BARE), STORED)], [BARE, one]),
}


@pytest.mark.parametrize("at_once", [True, False], ids=["one batch", "a batch each"])
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_a_wrap_is_deleted_by_whom_it_is_for(store: Store, story: Story, at_once: bool) -> None:
    await tell(store, story, at_once=at_once)
