"""Messages between people are found, counted and synced by those concerned alone, whatever a filter asks for."""

from __future__ import annotations

from typing import Any, Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.backends import Backend, ask, ask_at_once, everything, records
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.marks import examples
from tests.support.oracles import naive_may_read, naive_query
from tests.support.strategies import PUBKEYS, filters, wide_filters
from trio_relay import Store
from trio_relay.nostr.access import NOBODY, PRIVATE_KINDS, Reader
from trio_relay.nostr.event import Event, compute_id
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.hyperloglog import offset_of, registers_of

DAVE: Final = Author("dave")


def sent(kind: int, author: Author, *names: Author, at: int = 0) -> Event:
    return author.event("tea", kind=kind, created_at=NOW + at, tags=[["p", name.pubkey] for name in names])


MESSAGE = sent(4, ALICE, BOB)
TO_BOB, TO_ALICE, TO_BOTH = (
    sent(1_059, CAROL, *names, at=at) for at, names in enumerate([[BOB], [ALICE], [ALICE, BOB]], 1)
)
NOTE = sent(1, ALICE, BOB, at=4)
ALL: Final = [MESSAGE, TO_BOB, TO_ALICE, TO_BOTH, NOTE]
READABLE: Final = {
    "nobody": ([], [NOTE]),
    "the author of a message": ([ALICE], [NOTE, TO_BOTH, TO_ALICE, MESSAGE]),
    "whom it is for": ([BOB], [NOTE, TO_BOTH, TO_BOB, MESSAGE]),
    "the key that signed wraps": ([CAROL], [NOTE]),
    "a stranger": ([DAVE], [NOTE]),
    "two keys": ([DAVE, BOB], [NOTE, TO_BOTH, TO_BOB, MESSAGE]),
    "all keys": ([ALICE, BOB], [NOTE, TO_BOTH, TO_ALICE, TO_BOB, MESSAGE]),
    "many keys": ([BOB, *(Author(f"many {number}") for number in range(6))], [NOTE, TO_BOTH, TO_BOB, MESSAGE]),
}
QUESTIONS: Final = {
    "everything": Filter(),
    "ids": Filter(ids=frozenset(one.id for one in ALL)),
    "authors": Filter(authors=frozenset([ALICE.pubkey, CAROL.pubkey])),
    "kinds": Filter(kinds=frozenset([1, 4, 1_059])),
    "many kinds": Filter(kinds=frozenset([1_059, *range(40)])),
    "names": Filter(tags=(("p", frozenset([ALICE.pubkey, BOB.pubkey])),)),
}


def read_by(filter_: Filter, *names: Author) -> Filter:
    return filter_.read_by(Reader(frozenset(name.pubkey for name in names)))


@pytest.mark.parametrize("one", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize(("names", "expected"), READABLE.values(), ids=READABLE)
async def test_only_those_concerned_find_a_message(
    store: Store, names: list[Author], expected: list[Event], one: Filter
) -> None:
    await store.save_many(ALL)
    asked = read_by(one, *names)
    assert await ask(store, asked) == expected
    assert ask_at_once(store, asked) in (expected, None)
    assert await store.count([asked]) == len(expected)
    assert [event_id for _, event_id in await records(store, asked)] == [event.id for event in expected]


@pytest.mark.parametrize("kinds", [[1_059], [4], [4, 1_059], [1, 4], [1, 1_059]])
@pytest.mark.parametrize(("names", "expected"), READABLE.values(), ids=READABLE)
async def test_who_asks_for_private_kinds_gets_his_own(
    store: Store, names: list[Author], expected: list[Event], kinds: list[int]
) -> None:
    await store.save_many(ALL)
    own = [event for event in expected if event.kind in kinds]
    asked = read_by(Filter(kinds=frozenset(kinds)), *names)
    assert await ask(store, asked) == own
    assert ask_at_once(store, asked) in (own, None)
    assert await store.count([asked]) == len(own)
    assert len(await records(store, asked)) == len(own)


@pytest.mark.parametrize("event", ALL)
async def test_a_message_is_not_found_by_its_id(store: Store, event: Event) -> None:
    await store.save_many(ALL)
    for name in (ALICE, BOB, CAROL, DAVE):
        expected = [event] if event in READABLE_BY[name.pubkey] else []
        asked = read_by(Filter(ids=frozenset([event.id])), name)
        assert await ask(store, asked) == expected
        assert ask_at_once(store, asked) in (expected, None)


READABLE_BY: Final = {
    name.pubkey: [event for event in ALL if naive_may_read(event, [name.pubkey], PRIVATE_KINDS)]
    for name in (ALICE, BOB, CAROL, DAVE)
}


async def test_without_a_reader_all_is_found(store: Store) -> None:
    """What the relay asks for itself."""
    await store.save_many(ALL)
    assert await ask(store, Filter()) == [NOTE, TO_BOTH, TO_ALICE, TO_BOB, MESSAGE]


async def test_a_limit_counts_what_may_be_read(store: Store) -> None:
    await store.save_many([NOTE, *(sent(1_059, CAROL, BOB, at=10 + number) for number in range(20))])
    assert await ask(store, replace(Filter(limit=1), reader=NOBODY)) == [NOTE]


async def test_each_filter_has_its_own_reader(store: Store) -> None:
    await store.save_many(ALL)
    wraps = Filter(kinds=frozenset([1_059]))
    assert await ask(store, read_by(wraps, ALICE), read_by(wraps, DAVE)) == [TO_BOTH, TO_ALICE]
    assert await store.count([read_by(wraps, ALICE), read_by(wraps, BOB)]) == 3


async def test_any_kind_can_be_private(store: Store) -> None:
    """By a search and in a sketch too."""
    target = "e" * 64
    mine, public = (ALICE.event("tea", kind=kind, tags=[["e", target]]) for kind in (7, 1))
    await store.save_many([mine, public])
    offset = offset_of(target)
    reactions = Filter(kinds=frozenset([7]), tags=(("e", frozenset([target])),))
    for keys, number in (([], 0), ([ALICE.pubkey], 1), ([BOB.pubkey], 0)):
        reader = Reader(frozenset(keys), frozenset([7, 30_023]))
        assert await store.count([replace(parse_filter({"search": "tea"}), reader=reader)]) == 1 + number
        assert len(await ask(store, replace(parse_filter({"search": "tea"}), reader=reader))) == 1 + number
        sketch = await store.sketch(replace(reactions, reader=reader), offset)
        assert (sketch.number, sketch.registers) == (number, registers_of([ALICE.pubkey][:number], offset))


@pytest.mark.parametrize("text", ["domain:sea.example", "tea domain:sea.example", "domain:sea.example sort:top"])
@pytest.mark.parametrize("also", [{"kinds": [1]}, {"kinds": [1, 4], "#t": ["sea"]}, {"#t": ["sea"]}])
async def test_a_domain_is_told_by_profiles_that_may_be_read(store: Store, text: str, also: dict[str, Any]) -> None:
    profile = ALICE.event('{"nip05":"x@sea.example"}', kind=0)
    note = ALICE.event("tea", created_at=NOW + 1, tags=[["t", "sea"]])
    reply = BOB.event("so true", created_at=NOW + 2, tags=[["e", note.id]])
    await store.save_many([profile, note, reply])
    asked = parse_filter({"search": text, "since": 0, **also})
    for keys, expected in (([], []), ([BOB.pubkey], []), ([ALICE.pubkey], [note])):
        reader = Reader(frozenset(keys), PRIVATE_KINDS | {0})
        assert await ask(store, asked.read_by(reader)) == expected
    assert await ask(store, asked.read_by(NOBODY)) == [note]


SHORT, LONG = ALICE.event("tea"), ALICE.event(f"tea tea tea {'word ' * 27}", created_at=NOW - 1)
BEGUN = ALICE.event("teatime", created_at=NOW + 1)
FILLING: Final = [ALICE.event(f"something else {number}") for number in range(8)]
HIDDEN: Final = [
    *(BOB.event(f"hidden {number} {'long ' * 3_000}", kind=30_023, tags=[["d", str(number)]]) for number in range(8)),
    BOB.event("tea teatime", kind=30_023),
]


@pytest.mark.parametrize(
    ("text", "least"),
    [("tea", {SHORT.id, LONG.id}), ("te", {SHORT.id, LONG.id, BEGUN.id}), ("tea -hidden", {SHORT.id, LONG.id})],
)
async def test_hidden_words_change_no_order(store: Store, text: str, least: set[str]) -> None:
    """How rare a word is and how long texts are, is counted over all that is stored: so it does not count."""
    asked = parse_filter({"search": text, "kinds": [1]}, prefix=2)
    told = []
    for stored in ([SHORT, LONG, BEGUN, *FILLING], HIDDEN):
        await store.save_many(stored)
        told.append(await ask(store, asked.read_by(Reader(private_kinds=frozenset([30_023])))))
    assert told[0] == told[1]
    assert {event.id for event in told[0]} >= least


async def test_where_words_are_hidden_whole_words_come_first_and_the_newest_of_those(store: Store) -> None:
    newer = ALICE.event("a cup of tea", created_at=NOW + 5)
    await store.save_many([SHORT, BEGUN, newer])
    reader = Reader(private_kinds=frozenset([30_023]))
    for text, expected in (("tea", [newer, SHORT, BEGUN]), ("cup te", [newer]), ("te", [newer, BEGUN, SHORT])):
        assert await ask(store, parse_filter({"search": text}, prefix=2).read_by(reader)) == expected


async def test_where_nothing_is_private_all_is_found(store: Store) -> None:
    await store.save_many(ALL)
    assert await store.count([replace(Filter(), reader=Reader(frozenset(), frozenset()))]) == len(ALL)


keys = st.sampled_from(PUBKEYS)


@st.composite
def messages(draw: st.DrawFn) -> Event:
    """Events of private kinds and others, addressed to some of a few keys."""
    pubkey, kind = draw(keys), draw(st.sampled_from([1, 3, 4, 7, 1_059, 10_002]))
    tags = draw(st.lists(st.tuples(st.sampled_from(["p", "e", "P", "t"]), keys | st.just("x")).map(list), max_size=3))
    at = NOW + draw(st.integers(0, 3))
    return Event(compute_id(pubkey, at, kind, tags, ""), pubkey, at, kind, tags, "", "5" * 128)


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[Event], list[tuple[Reader, list[Filter]]]]:
    """Messages, and readers with a REQ of each."""
    known = draw(st.lists(messages(), max_size=20))
    kinds = st.frozensets(st.sampled_from([1, 4, 1_059]), min_size=1)
    addressed = st.builds(
        Filter,
        kinds=st.none() | kinds,
        tags=st.just(()) | st.frozensets(keys, min_size=1).map(lambda names: (("p", names),)),
        limit=st.integers(0, 8),
    )
    reader = st.builds(Reader, st.frozensets(keys), st.just(PRIVATE_KINDS) | kinds)
    request = st.lists(addressed | filters(known) | wide_filters(known), min_size=1, max_size=3)
    return known, draw(st.lists(st.tuples(reader, request), min_size=1, max_size=6))


@pytest.mark.slow
def test_no_event_reaches_who_may_not_read_it(backend: Backend) -> None:
    @settings(max_examples=examples(backend.examples))
    @given(questions())
    def check(drawn: tuple[list[Event], list[tuple[Reader, list[Filter]]]]) -> None:
        known, asked = drawn

        async def main() -> None:
            async with backend.open() as store:
                await store.save_many(known)
                kept = await everything(store)
                for reader, request in asked:
                    await check_answers(store, reader, request, kept)

        trio.run(main)

    check()


async def check_answers(store: Store, reader: Reader, request: list[Filter], kept: list[Event]) -> None:
    """Pages, count and records are what the naive twin finds among what may be read."""
    readable = [event for event in kept if naive_may_read(event, list(reader.keys), reader.private_kinds)]
    told = [one.read_by(reader) for one in request]
    assert await ask(store, *told) == naive_query(request, readable)
    unlimited = [replace(one, limit=None) for one in request]
    assert await store.count(told) == len(naive_query(unlimited, readable))
    for one, asked in zip(request, told, strict=True):
        expected = [(event.created_at, event.id) for event in naive_query([one], readable)]
        assert await records(store, asked) == expected
