"""`sort:` in a search: by what others say of the notes, the same order in every store."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.backends import ask
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.readers import reading
from trio_relay import Event, Store
from trio_relay.nostr.filter import Filter, parse_filter

DAY: Final = 86_400
CROWD: Final = [Author(f"voice {number}") for number in range(6)]
QUIET = ALICE.event("tea alone", created_at=NOW)
LOVED = ALICE.event("tea for all", created_at=NOW)
ARGUED = BOB.event("tea or coffee", created_at=NOW + 10)
OLD = CAROL.event("coffee then", created_at=NOW - 3 * DAY)
NOTES: Final = [QUIET, LOVED, ARGUED, OLD]
VOICES: Final = [
    *(voice.event("+", kind=7, created_at=NOW + 20, tags=[["e", LOVED.id]]) for voice in CROWD[:3]),
    *(voice.event("👍🏽", kind=7, created_at=NOW + 20, tags=[["e", ARGUED.id]]) for voice in CROWD[:1]),
    *(voice.event("-", kind=7, created_at=NOW + 20, tags=[["e", ARGUED.id]]) for voice in CROWD[1:2]),
    *(voice.event("so true", created_at=NOW - DAY, tags=[["e", OLD.id, "", "reply"]]) for voice in CROWD[:5]),
    CROWD[5].event("-", kind=7, created_at=NOW + 21, tags=[["e", LOVED.id]]),
]
LOUD: Final = [CROWD[0].event(f"again {number}", created_at=NOW + 30, tags=[["e", QUIET.id]]) for number in range(20)]


def sorted_by(sort: str, text: str = "", **keys: object) -> Filter:
    return parse_filter({"search": f"{text} sort:{sort}", **keys})


ORDERS: Final[dict[str, tuple[Filter, list[Event]]]] = {
    "top": (sorted_by("top"), [OLD, LOVED, ARGUED, QUIET]),
    "top with a word": (sorted_by("top", "tea"), [LOVED, ARGUED, QUIET]),
    "top of an author": (sorted_by("top", authors=[ALICE.pubkey]), [LOVED, QUIET]),
    "top with a limit": (sorted_by("top", limit=2), [OLD, LOVED]),
    "top without a word": (sorted_by("top", "-tea"), [OLD]),
    "top since, the voices too": (sorted_by("top", since=NOW), [LOVED, ARGUED, QUIET]),
    "top until, the voices too": (sorted_by("top", until=NOW + 20), [OLD, LOVED, ARGUED]),
    "hot": (sorted_by("hot", since=0), [LOVED, ARGUED, QUIET, OLD]),
    "hot with a word": (sorted_by("hot", "coffee", since=0), [ARGUED, OLD]),
    "rising": (sorted_by("rising", since=0), [OLD, LOVED, ARGUED, QUIET]),
    "controversial": (sorted_by("controversial", since=0), [LOVED, ARGUED]),
    "controversial of an author": (sorted_by("controversial", since=0, authors=[BOB.pubkey]), [ARGUED]),
    "a window without notes": (sorted_by("hot"), []),
    "no word": (sorted_by("top", "🤙"), []),
    "limit 0": (sorted_by("top", limit=0), []),
}


@pytest.mark.parametrize(("one", "expected"), ORDERS.values(), ids=ORDERS)
async def test_a_sort_gives_what_is_spoken_of_in_its_order(store: Store, one: Filter, expected: list[Event]) -> None:
    """Whoever speaks twenty times of a note is one voice."""
    await store.save_many([*NOTES, *VOICES, *LOUD])
    assert await ask(store, one) == expected


async def test_who_deletes_what_he_said_says_nothing(store: Store) -> None:
    await store.save_many([*NOTES, *VOICES])
    request = CROWD[1].event(kind=5, created_at=NOW + 40, tags=[["e", VOICES[4].id], ["e", QUIET.id]])
    await store.save_many([request])
    assert await ask(store, sorted_by("controversial", since=0)) == [LOVED]
    assert await ask(store, sorted_by("top", "tea")) == [LOVED, ARGUED]


@pytest.mark.parametrize("kind", [4, 1_059])
async def test_what_is_private_speaks_of_no_note(store: Store, kind: int) -> None:
    """Else the order would tell of messages that nobody else may read."""
    messages = [
        voice.event("…", kind=kind, created_at=NOW + 20, tags=[["p", ALICE.pubkey], ["e", QUIET.id]]) for voice in CROWD
    ]
    await store.save_many([*NOTES, *messages, VOICES[0]])
    assert await ask(store, sorted_by("top")) == [LOVED]


@pytest.mark.parametrize("kind", [1, 6, 7, 9_735, 30_023])
@pytest.mark.parametrize("sort", ["top", "hot", "rising", "controversial"])
async def test_what_is_private_here_speaks_of_no_note_to_anybody(store: Store, sort: str, kind: int) -> None:
    """Nor to those who may read it: with one key after another the order would tell who spoke of what."""
    notes = [ALICE.event(f"tea {number}", kind=11, created_at=NOW + number) for number in range(3)]
    spoken = [
        voice.event(vote, kind=kind, created_at=NOW + 9, tags=[["e", notes[0].id], ["p", BOB.pubkey], ["d", vote]])
        for voice in CROWD
        for vote in "+-"
    ]
    heard = [voice.event(vote, kind=12, tags=[["e", notes[1].id]]) for voice in CROWD[:2] for vote in "+-"]
    await store.save_many([*notes, *spoken, *heard])
    asked = sorted_by(sort, "tea", since=0, kinds=[11])
    for keys in ([], [BOB.pubkey], [CROWD[0].pubkey]):
        told = await ask(store, asked.read_by(reading(*keys, also=[kind])))
        assert told == ([] if sort == "controversial" else [notes[1]])
    public = await ask(store, asked.read_by(reading()))
    assert public == ([notes[0]] if kind == 7 else []) if sort == "controversial" else [notes[0], notes[1]]


async def test_a_sort_is_one_filter_among_others(store: Store) -> None:
    await store.save_many([*NOTES, *VOICES])
    found = await ask(store, sorted_by("top", "coffee"), Filter(ids=frozenset([QUIET.id, OLD.id])))
    assert found == [OLD, ARGUED, QUIET]


async def test_nothing_is_sorted_where_there_is_nothing(store: Store) -> None:
    for sort in ("top", "hot", "rising", "controversial"):
        assert await ask(store, sorted_by(sort)) == []
