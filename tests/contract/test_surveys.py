"""Going through all that is stored, and forgetting some of it: what retention needs of each store."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.backends import Backend, ask, everything, records
from tests.support.keys import ALICE, BOB, CAROL, NOW
from tests.support.marks import examples
from tests.support.strategies import TIMES, histories
from trio_relay import Event, Filter, Saved, Store
from trio_relay.nostr import event as events_of

NOTE = ALICE.event("tea", tags=[["t", "tea"], ["subject", "teatime", "more"]])
OVER = BOB.event("over", created_at=NOW + 1, tags=[["expiration", str(NOW)], ["t", "x"]])
WRAP = CAROL.event("sealed", kind=1_059, created_at=NOW + 2, tags=[["p", ALICE.pubkey]])
PROFILE = ALICE.event("{}", kind=0, created_at=NOW + 3)
ALL: Final = [NOTE, OVER, WRAP, PROFILE]

Row = tuple[int, str, str, int, int, list[list[str]]]


async def surveyed(
    store: Store, until: int | None = None, tagged: AbstractSet[int] | None = None, *, weighs: bool = True
) -> list[Row]:
    """All that a survey yields; no portion may be empty."""
    async with aclosing(store.survey(until, tagged=tagged, weighs=weighs)) as portions:
        found = [portion async for portion in portions]
    assert all(found)
    return [(one.created_at, one.id, one.pubkey, one.kind, one.bytes, one.tags) for part in found for one in part]


def expected(events: Sequence[Event]) -> list[Row]:
    ordered = sorted(events, key=lambda event: (-event.created_at, event.id))
    return [(e.created_at, e.id, e.pubkey, e.kind, len(events_of.encode(e)), e.tags) for e in ordered]


@pytest.mark.slow
def test_a_survey_goes_through_all_that_is_stored_newest_first(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples // 2))
    @given(histories(), st.none() | st.sampled_from(TIMES))
    def check(history: list[Event], until: int | None) -> None:
        async def main() -> None:
            async with backend.open() as store:
                await store.save_many(history)
                stored = await everything(store)
                wanted = [event for event in stored if until is None or event.created_at <= until]
                assert await surveyed(store, until) == expected(wanted)

        trio.run(main)

    check()


async def test_expired_and_private_events_are_among_it(store: Store) -> None:
    await store.save_many(ALL)
    assert await surveyed(store) == expected(ALL)


async def test_tags_are_told_of_the_kinds_alone_whose_tags_are_wanted(store: Store) -> None:
    await store.save_many(ALL)
    tags = {row[3]: row[5] for row in await surveyed(store, tagged=frozenset([1_059, 0]))}
    assert tags == {0: [], 1: [], 1_059: WRAP.tags}


async def test_what_is_looked_at_may_be_without_tags_and_sizes(store: Store) -> None:
    await store.save_many(ALL)
    rows = await surveyed(store, tagged=frozenset(), weighs=False)
    assert [(row[:4], row[5]) for row in rows] == [(row[:4], []) for row in expected(ALL)]


async def test_of_an_empty_store_nothing_is_told(store: Store) -> None:
    assert await surveyed(store) == []


async def test_what_is_forgotten_is_gone_and_nothing_else(store: Store) -> None:
    await store.save_many(ALL)
    assert await store.forget([NOTE.id, PROFILE.id, "f" * 64, NOTE.id]) == 2
    assert await everything(store) == [OVER, WRAP]
    assert await store.known([NOTE.id]) == set()
    of_tag = Filter(tags=(("t", frozenset(["tea"])),))
    assert await ask(store, of_tag) == []
    assert await records(store, of_tag) == []
    assert await store.forget([NOTE.id]) == 0
    assert await store.forget([]) == 0


async def test_what_was_forgotten_may_come_again(store: Store) -> None:
    older = ALICE.event("{}", kind=0, created_at=NOW)
    await store.save_many(ALL)
    await store.forget([NOTE.id, PROFILE.id])
    assert await store.save_many([older, PROFILE, NOTE]) == [Saved.STORED] * 3
    assert {event.id for event in await everything(store)} == {event.id for event in ALL}


async def test_what_was_deleted_stays_deleted_when_the_request_is_forgotten(store: Store) -> None:
    article = ALICE.event("article", kind=30_023, tags=[["d", "x"]])
    targets = [["e", NOTE.id], ["a", f"30023:{ALICE.pubkey}:x"]]
    deletion = ALICE.event(kind=5, created_at=NOW + 9, tags=targets)
    await store.save_many([NOTE, article, deletion])
    assert await everything(store) == [deletion]
    assert await store.forget([deletion.id]) == 1
    assert await store.save_many([NOTE, article]) == [Saved.DELETED] * 2
    assert await everything(store) == []


async def test_a_forgotten_request_to_delete_bars_what_never_came(store: Store) -> None:
    deletion = ALICE.event(kind=5, created_at=NOW + 9, tags=[["e", NOTE.id]])
    await store.save_many([deletion])
    await store.forget([deletion.id])
    assert await store.save_many([NOTE]) == [Saved.DELETED]


async def test_who_has_vanished_stays_vanished_when_the_request_is_forgotten(store: Store) -> None:
    vanish = ALICE.event(kind=62, created_at=NOW + 9, tags=[["relay", "ALL_RELAYS"]])
    await store.save_many([NOTE, WRAP])
    await store.save_many([vanish])
    assert await store.forget([vanish.id]) == 1
    assert await store.save_many([NOTE, WRAP]) == [Saved.VANISHED] * 2
    later = ALICE.event("later", created_at=NOW + 10)
    assert await store.save_many([later]) == [Saved.STORED]
    assert await everything(store) == [later]
