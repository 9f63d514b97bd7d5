"""What has expired is in no answer, and `sweep` removes it (NIP-40)."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.backends import ask, ask_at_once, everything, records
from tests.support.keys import ALICE, BOB, NOW, Author
from trio_relay import Event, Saved, Store
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.hyperloglog import offset_of, registers_of

TARGET: Final = "e" * 64
LONG_AGO, FAR = str(NOW), str(2**40)
TAGS: Final = [["t", "tea"], ["t", "cup"], ["p", BOB.pubkey], ["e", TARGET], ["l", "en", "ISO-639-1"]]


def note(expiry: str | None, author: Author = ALICE, kind: int = 1, content: str = "tea", at: int = 0) -> Event:
    last = [] if expiry is None else [["expiration", expiry]]
    return author.event(content, kind=kind, created_at=NOW + at, tags=[*TAGS, *last])


GONE, OTHER_GONE = note(LONG_AGO), note("0", kind=7)
LASTS, PLAIN = note(FAR, at=2), note(None, at=1)
ALL: Final = [GONE, LASTS, OTHER_GONE, PLAIN]

QUESTIONS: Final = {
    "everything": Filter(),
    "an id": Filter(ids=frozenset([GONE.id])),
    "ids": Filter(ids=frozenset(one.id for one in ALL)),
    "an author": Filter(authors=frozenset([ALICE.pubkey])),
    "an author's kind": Filter(authors=frozenset([ALICE.pubkey]), kinds=frozenset([1])),
    "a kind": Filter(kinds=frozenset([1])),
    "kinds": Filter(kinds=frozenset([1, 7])),
    "many kinds": Filter(kinds=frozenset(range(50))),
    "a tag": Filter(tags=(("t", frozenset(["tea"])),)),
    "tags": Filter(tags=(("t", frozenset(["tea", "cup"])), ("p", frozenset([BOB.pubkey])))),
    "many values of a tag": Filter(tags=(("t", frozenset(["tea", "cup", *"abcd"])),)),
    "a time": Filter(until=NOW),
    "a word": parse_filter({"search": "tea"}),
    "a mark": parse_filter({"search": "language:en"}),
    "no such word": parse_filter({"search": "-coffee"}),
}


@pytest.mark.parametrize("one", QUESTIONS.values(), ids=QUESTIONS)
async def test_what_has_expired_is_in_no_answer(store: Store, one: Filter) -> None:
    assert await store.save_many(ALL) == [Saved.STORED] * 4
    wanted = {event.id for event in (LASTS, PLAIN)}
    if one.ids == frozenset([GONE.id]) or one.until is not None:
        wanted = set()
    found = await ask(store, one)
    assert {event.id for event in found} == wanted
    if one.search is None:
        assert ask_at_once(store, one) in (found, None)
    assert await store.count([one]) == len(wanted)
    assert {event_id for _, event_id in await records(store, one)} == wanted
    both = await ask(store, one, Filter(ids=frozenset([OTHER_GONE.id])))
    assert {event.id for event in both} == wanted


async def test_a_limit_counts_what_lasts(store: Store) -> None:
    await store.save_many([note(LONG_AGO, at=number) for number in range(5)] + [PLAIN])
    for one in (Filter(limit=1), Filter(kinds=frozenset([1]), limit=1), Filter(tags=QUESTIONS["a tag"].tags, limit=1)):
        assert await ask(store, one) == [PLAIN]


async def test_no_sketch_counts_it(store: Store) -> None:
    await store.save_many([note(LONG_AGO, kind=7), note(FAR, BOB, kind=7)])
    offset = offset_of(TARGET)
    counted = await store.sketch(Filter(kinds=frozenset([7]), tags=(("e", frozenset([TARGET])),)), offset)
    assert (counted.number, counted.registers) == (1, registers_of([BOB.pubkey], offset))


async def test_what_a_profile_claims_ends_with_it(store: Store) -> None:
    profiles = [note(expiry, who, 0, '{"nip05":"x@tea.org"}') for who, expiry in ((ALICE, LONG_AGO), (BOB, FAR))]
    said = [note(None, who, content="cup") for who in (ALICE, BOB)]
    await store.save_many([*profiles, *said])
    assert await ask(store, parse_filter({"search": "cup domain:tea.org"})) == [said[1]]
    assert await store.count([parse_filter({"search": "cup domain:tea.org"})]) == 1


async def test_who_spoke_of_a_note_for_a_while_is_a_voice_no_more(store: Store) -> None:
    heard, faded = note(None, content="heard"), note(None, content="faded")
    voices = [
        BOB.event("+", kind=7, tags=[["e", one.id], ["expiration", expiry]])
        for one, expiry in ((heard, FAR), (faded, LONG_AGO))
    ]
    await store.save_many([heard, faded, *voices])
    assert await ask(store, parse_filter({"search": "sort:top"})) == [heard]


@pytest.mark.parametrize("expiry", ["", "soon", "-1", "1.5", " 1", "1e3", "٣", "9" * 19])
async def test_what_is_no_number_never_expires(store: Store, expiry: str) -> None:
    event = note(expiry)
    await store.save_many([event])
    assert await ask(store, Filter()) == [event]
    assert await store.sweep() == 0
    assert await ask(store, Filter()) == [event]


@pytest.mark.parametrize("tags", [[["expiration"]], [["x", LONG_AGO]], [["expiration", FAR], ["expiration", "1"]]])
async def test_other_tags_say_nothing_of_it(store: Store, tags: list[list[str]]) -> None:
    event = ALICE.event(f'"expiration" {LONG_AGO}', tags=tags)
    await store.save_many([event])
    assert await store.count([Filter()]) == 1
    assert await store.sweep() == 0


async def test_a_sweep_leaves_no_rest_and_no_tombstone(store: Store) -> None:
    await store.save_many(ALL)
    assert await store.sweep() == 2
    assert await store.sweep() == 0
    assert await everything(store) == [LASTS, PLAIN]
    assert await store.known([one.id for one in ALL]) == {LASTS.id, PLAIN.id}
    assert await store.save_many([GONE, LASTS]) == [Saved.STORED, Saved.DUPLICATE]
    assert await ask(store, Filter()) == [LASTS, PLAIN]
    assert await store.sweep() == 1


@pytest.mark.parametrize("kind", [0, 10_002, 30_023])
async def test_an_older_version_does_not_come_back_once_its_successor_is_swept(store: Store, kind: int) -> None:
    """An address remembers the newest that stood: the past is over in its second and before."""
    older, last, newer = (note(expiry, kind=kind, at=at) for expiry, at in ((None, 0), (LONG_AGO, 5), (None, 6)))
    await store.save_many([last])
    assert await store.save_many([older]) == [Saved.SUPERSEDED]
    assert await store.sweep() == 1
    assert await store.save_many([older, last]) == [Saved.DELETED] * 2
    assert await ask(store, Filter()) == []
    assert await store.save_many([newer]) == [Saved.STORED]
    assert await ask(store, Filter()) == [newer]


async def test_what_has_expired_at_one_address_bars_no_other(store: Store) -> None:
    gone, beside = note(LONG_AGO, kind=30_023, at=5), note(None, kind=30_024)
    await store.save_many([gone])
    assert await store.sweep() == 1
    others = [beside, note(None, BOB, kind=30_023), note(None)]
    assert await store.save_many(others) == [Saved.STORED] * 3


async def test_what_has_expired_is_deleted_and_vanishes_as_all_else(store: Store) -> None:
    await store.save_many(ALL)
    await store.save_many([ALICE.event(kind=5, created_at=NOW + 3, tags=[["e", GONE.id]])])
    assert await store.save_many([GONE]) == [Saved.DELETED]
    assert await store.sweep() == 1


@pytest.mark.slow
async def test_many_are_swept(store: Store) -> None:
    await store.save_many([note(str(NOW - number % 7), at=-number) for number in range(1_100)] + [LASTS])
    assert await store.count([Filter()]) == 1
    assert await store.sweep() == 1_100
    assert await everything(store) == [LASTS]
