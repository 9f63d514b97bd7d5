"""What can be said of an answer (NIP-67) is true, whichever way it was found, and costs no more than it must."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB, NOW
from tests.support.obedient_store import ObedientStore, SyncedStore
from tests.support.oracles import naive_match, naive_may_read, naive_query
from tests.support.pipeline import LocalClient, ids, queries, waiting
from tests.support.strategies import PUBKEYS
from trio_relay import Filter, Subscription
from trio_relay.nostr.access import NOBODY, PRIVATE_KINDS, Reader
from trio_relay.nostr.event import Event, compute_id
from trio_relay.nostr.filter import parse_filter
from trio_relay.pipeline.completeness import at_risk, could_hide, is_inexact, older_than, with_one_more

DEFAULT, MOST = 3, 5
NOTES: Final = [ALICE.event(str(age), created_at=NOW - age) for age in range(5)]
WRAP: Final = BOB.event(kind=1_059, created_at=NOW - 9, tags=[["p", ALICE.pubkey]])
FINISH, MORE = ["EOSE", "sub", ["finish"]], ["EOSE", "sub", ["more"]]
NO_HINT = ["EOSE", "sub"]


def asked(*sources: dict[str, Any]) -> tuple[Filter, ...]:
    """Filters as a session hands them on."""
    return tuple(parse_filter(one).with_limit(default=DEFAULT, most=MOST) for one in sources)


async def answer(
    store: ObedientStore, *filters: Filter, reader: Reader = NOBODY, most_bytes: int = 2**20
) -> list[list[Any]]:
    """All that a subscription is sent of what is stored."""
    target = Subscription("sub", filters, LocalClient(most_bytes), reader)
    desk = queries(store, 2.5, most=MOST, hints=True)
    answer = desk.answer(target)
    if not answer.send_nowait():
        await answer.send()
    return await waiting(target.recipient)


async def filled(events: Sequence[Event], *, is_quick: bool = False, page_events: int = 500) -> SyncedStore:
    store = SyncedStore(page_events, is_quick=is_quick)
    await store.save_many(events)
    return store


@pytest.mark.parametrize("is_quick", [False, True], ids=["with a wait", "at once"])
@pytest.mark.parametrize("page_events", [1, 2, 500])
@pytest.mark.parametrize(
    ("limit", "end"), [(4, MORE), (5, FINISH), (None, MORE)], ids=["one too few", "as many", "the relay's own"]
)
async def test_one_event_more_is_asked_for_and_not_sent(
    is_quick: bool, page_events: int, limit: int | None, end: list[Any]
) -> None:
    store = await filled(NOTES, is_quick=is_quick, page_events=page_events)
    found = await answer(store, *asked({"kinds": [1]} if limit is None else {"kinds": [1], "limit": limit}))
    assert ids(found[:-1]) == [note.id for note in NOTES[: limit or DEFAULT]]
    assert found[-1] == end


async def test_an_answer_that_the_relay_has_cut_is_searched_for_once_and_then_its_ties() -> None:
    """What was found at once is not found anew."""
    store = await filled(NOTES, is_quick=True)
    assert (await answer(store, *asked({})))[-1] == MORE
    assert (store.calls["query_nowait"], store.calls["query"]) == (1, 1)


@pytest.mark.parametrize("is_quick", [False, True])
async def test_what_can_be_told_at_once_asks_nothing_else(is_quick: bool) -> None:
    """A REQ for kinds that are not private, or for ids that all came, costs one search."""
    for one in ({"kinds": [1], "limit": 5}, {"ids": [note.id for note in NOTES], "limit": 5}):
        store = await filled([*NOTES, WRAP], is_quick=is_quick)
        assert (await answer(store, *asked(one)))[-1] == FINISH
        assert (store.calls["query_nowait"], store.calls["query"]) == ((1, 0) if is_quick else (0, 1))
        assert store.calls["records"] == 0


@pytest.mark.parametrize("is_quick", [False, True])
async def test_where_a_second_has_more_than_is_ever_sent_nothing_is_said(is_quick: bool) -> None:
    crowd = [ALICE.event(str(number)) for number in range(MOST + 1)]
    first = sorted(note.id for note in crowd)[:MOST]
    for stored, end in ((crowd, NO_HINT), ([*crowd, NOTES[1]], MORE)):
        store = await filled(stored, is_quick=is_quick)
        found = await answer(store, *asked({}))
        assert (ids(found[:-1]), found[-1]) == (first, end)


AT_RISK: Final = ({"kinds": [1], "limit": 2}, {"kinds": [7]})
"""As long an answer as the first one's limit, which may have cut it: that takes a look."""


class Hesitant(SyncedStore):
    """Answers only the first question at once."""

    def query_nowait(self, filters: Sequence[Filter]) -> list[bytes] | None:
        page = super().query_nowait(filters)
        return page if self.calls["query_nowait"] == 1 else None


@pytest.mark.parametrize(("stored", "end"), [(NOTES[:2], FINISH), (NOTES[:3], MORE)])
async def test_where_only_the_hint_takes_a_while_the_answer_is_not_searched_for_again(
    stored: list[Event], end: list[Any]
) -> None:
    store = Hesitant(is_quick=True)
    await store.save_many(stored)
    found = await answer(store, *asked(*AT_RISK))
    assert ids(found[:-1]) == [note.id for note in NOTES[:2]]
    assert found[-1] == end
    assert (store.calls["query"], store.calls["records"]) == (0, 1)


@pytest.mark.parametrize("is_quick", [False, True])
async def test_a_hint_that_takes_too_long_is_left_out_and_the_answer_stands(
    is_quick: bool, autojump_clock: MockClock
) -> None:
    store = (Hesitant if is_quick else SyncedStore)(is_quick=is_quick)
    await store.save_many(NOTES[:2])
    store.block("records")
    assert ids(found := await answer(store, *asked(*AT_RISK))) == [NOTES[0].id, NOTES[1].id, "EOSE"]
    assert found[-1] == NO_HINT
    assert trio.current_time() == 2.5


async def test_whether_anything_older_is_left_may_take_too_long_too(autojump_clock: MockClock) -> None:
    """All that was asked for has been sent, the ties of the last second included."""
    store = await filled(NOTES, is_quick=True)
    store.block("records")
    found = await answer(store, *asked({}))
    assert (ids(found[:-1]), found[-1]) == ([note.id for note in NOTES[:DEFAULT]], NO_HINT)


async def test_a_hint_that_the_store_cannot_give_closes_the_subscription() -> None:
    store = await filled(NOTES[:2])
    store.failing["records"] = "disk is gone"
    assert (await answer(store, *asked(*AT_RISK)))[-1] == ["CLOSED", "sub", "error: disk is gone"]


@pytest.mark.parametrize("stored", [NOTES[:2], [*NOTES[:2], WRAP]], ids=["nothing private", "a wrap"])
@pytest.mark.parametrize("is_quick", [False, True])
async def test_whether_anything_private_is_stored_is_neither_looked_up_nor_told(
    is_quick: bool, stored: list[Event]
) -> None:
    store = await filled(stored, is_quick=is_quick)
    assert (await answer(store, *asked({})))[-1] == NO_HINT
    assert store.calls["query_nowait"] + store.calls["query"] == 1
    assert store.calls["records"] == 0


@pytest.mark.parametrize("method", ["query", "page"])
async def test_ties_that_take_too_long_close_the_subscription(method: str, autojump_clock: MockClock) -> None:
    """Then nobody knows where to go on."""
    store = await filled(NOTES, is_quick=True)
    store.block(method)
    found = await answer(store, *asked({}))
    assert found[-1] == ["CLOSED", "sub", "error: the query took more than 2.5 seconds (query_seconds)"]
    assert ids(found[:-1]) == [note.id for note in NOTES[:DEFAULT]]


async def test_nothing_is_left_running_in_the_store() -> None:
    store = await filled(NOTES, page_events=1)
    await answer(store, *asked({"limit": 2}))
    assert store.calls["page"] == 3
    assert (await answer(store, *asked({"kinds": [1], "limit": 2}, {"kinds": [7]})))[-1] == MORE
    assert store.calls["record page"] == 3


class Listening(SyncedStore):
    """Notes the filters that it is asked."""

    asked: list[Filter]

    async def count(self, filters: Sequence[Filter]) -> int:
        self.asked = list(filters)
        return await super().count(filters)


async def test_of_who_is_nobody_no_store_is_asked_for_private_kinds() -> None:
    """Who has wraps would show in how long it takes."""
    store = Listening()
    await store.save_many([*NOTES, WRAP])
    desk = queries(store, 2.5, most=MOST)
    private = asked({"kinds": [4, 1_059]}, {"kinds": [1_059], "#p": [ALICE.pubkey]}, {"kinds": [4], "search": "tea"})
    assert await desk.count(private, NOBODY) == 0
    assert (await answer(store, *private))[-1] == NO_HINT
    assert store.calls.keys() == {"save_many", "saved"}
    assert await desk.count([*asked({"kinds": [1, 1_059], "#p": [ALICE.pubkey]}), *private], NOBODY) == 0
    assert [filter_.kinds for filter_ in store.asked] == [frozenset([1])]
    assert await desk.count(private[1:2], Reader(frozenset([ALICE.pubkey]))) == 1


def read(one: dict[str, Any], *keys: str, private: frozenset[int] = PRIVATE_KINDS) -> tuple[Filter, Reader]:
    reader = Reader(frozenset(keys), private)
    return parse_filter(one).with_limit(default=DEFAULT, most=MOST), reader


ME, YOU = ALICE.pubkey, BOB.pubkey
HIDDEN: Final[dict[str, tuple[dict[str, Any], list[str], bool]]] = {
    "everything, for nobody": ({}, [], True),
    "everything, for a key": ({}, [ME], True),
    "public kinds": ({"kinds": [1, 7]}, [], False),
    "some private kinds": ({"kinds": [1, 4]}, [], True),
    "own messages": ({"kinds": [4], "authors": [ME]}, [ME], False),
    "whatever one wrote": ({"authors": [ME]}, [ME], True),
    "own wraps": ({"kinds": [1_059], "authors": [ME]}, [ME], True),
    "what one and another wrote": ({"kinds": [4], "authors": [ME, YOU]}, [ME], True),
    "what both keys wrote": ({"kinds": [4], "authors": [ME, YOU]}, [ME, YOU], False),
    "what names one": ({"#p": [ME]}, [ME], False),
    "what names one or another": ({"#p": [ME, YOU]}, [ME], True),
    "what names another": ({"#p": [YOU]}, [ME], True),
    "what can match nothing": ({"#p": []}, [ME], False),
    "no authors": ({"authors": [], "kinds": [4]}, [ME], False),
    "words, which nothing private has": ({"search": "tea"}, [], False),
    "no words": ({"search": "-tea"}, [], True),
}


@pytest.mark.parametrize(("one", "keys", "could"), HIDDEN.values(), ids=HIDDEN)
def test_only_private_kinds_that_may_be_of_others_can_be_hidden(
    one: dict[str, Any], keys: list[str], could: bool
) -> None:
    assert could_hide(*read(one, *keys)) is could


def test_words_of_kinds_that_are_private_here_can_be_hidden() -> None:
    assert could_hide(*read({"search": "tea"}, private=frozenset([4, 30_023])))
    assert not could_hide(*read({"search": "tea", "kinds": [1]}, private=frozenset([4, 30_023])))


def test_several_filters_are_at_risk_where_the_whole_answer_is_as_long_as_a_limit() -> None:
    notes, few, none, two_ids = asked({"kinds": [1]}, {"limit": 1}, {"ids": []}, {"ids": [NOTES[0].id, NOTES[1].id]})
    assert at_risk([notes], 100) == []
    assert at_risk([notes, none], 100) == []
    assert at_risk([notes, few], 2) == [few]
    assert at_risk([notes, few], 3) == [notes, few]
    assert at_risk([few, two_ids], 5) == [few]
    assert at_risk([few, replace(two_ids, limit=1)], 1) == [few, replace(two_ids, limit=1)]


def test_of_one_filter_one_event_more_is_asked_for_and_of_several_none() -> None:
    one, other = asked({"limit": 4}, {"kinds": [1]})
    assert with_one_more([one], hints=True) == [replace(one, limit=5)]
    assert with_one_more([one], hints=False) == [one]
    assert with_one_more([other], hints=False) == [replace(other, limit=DEFAULT + 1)]
    assert with_one_more([one, other], hints=True) == [one, other]
    assert with_one_more([], hints=True) == []


def test_a_choice_is_never_whole() -> None:
    assert [is_inexact(asked({"search": text}, {})) for text in ("tea", "tea sort:top")] == [False, True]


def test_older_is_what_lies_before_a_second() -> None:
    (one,) = asked({"kinds": [1], "since": 5})
    assert older_than(one, NOW) == replace(one, until=NOW - 1, limit=1)
    assert not older_than(one, 5).wants_stored


times = st.integers(NOW, NOW + 3)
keys = st.sampled_from(PUBKEYS)


@st.composite
def events(draw: st.DrawFn, kinds: list[int]) -> Event:
    pubkey, kind, at = draw(keys), draw(st.sampled_from(kinds)), draw(times)
    tags = draw(st.lists(keys.map(lambda key: ["p", key]), max_size=2))
    content = str(draw(st.integers(0, 50)))
    return Event(compute_id(pubkey, at, kind, tags, content), pubkey, at, kind, tags, content, "5" * 128)


questions = st.fixed_dictionaries(
    {},
    optional={
        "authors": st.lists(keys, max_size=3),
        "kinds": st.lists(st.sampled_from([1, 4, 7, 1_059]), max_size=3),
        "#p": st.lists(keys, max_size=2),
        "since": times,
        "until": times,
        "limit": st.integers(0, 7),
    },
)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    st.lists(events([1, 7]), max_size=12) | st.lists(events([1, 4, 7, 1_059]), max_size=12),
    st.lists(questions, min_size=1, max_size=3).map(lambda sources: asked(*sources)),
    st.frozensets(keys),
    st.sampled_from([1, 3, 500]),
)
def test_whatever_is_said_is_true_at_once_and_with_a_wait(
    known: list[Event], filters: tuple[Filter, ...], names: frozenset[str], page_events: int
) -> None:
    known = list({event.id: event for event in known}.values())
    reader = Reader(names)
    answers = []
    for is_quick in (False, True):

        async def main(is_quick: bool = is_quick) -> None:
            store = await filled(known, is_quick=is_quick, page_events=page_events)
            answers.append(await answer(store, *filters, reader=reader))

        trio.run(main)
    assert answers[0] == answers[1]
    judge([message[2]["id"] for message in answers[0][:-1]], answers[0][-1][2:], known, filters, reader)


def judge(sent: list[str], hint: list[Any], known: list[Event], filters: Sequence[Filter], reader: Reader) -> None:
    """The answer and its hint against all there is."""
    readable = [event for event in known if naive_may_read(event, list(reader.keys), reader.private_kinds)]
    matching = [event for event in readable if any(naive_match(filter_, event) for filter_ in filters)]
    least = [event.id for event in naive_query(filters, readable)]
    assert sent[: len(least)] == least
    if extra := sent[len(least) :]:  # the ties of the last second that the relay itself has cut
        oldest = next(event.created_at for event in matching if event.id == least[-1])
        tied = [event.id for event in matching if event.created_at == oldest]
        assert any(filter_.is_clamped for filter_ in filters)
        assert set(extra) <= set(tied)
    is_whole = {event.id for event in matching} == set(sent)
    if hint == [["finish"]]:
        assert is_whole
    elif hint == [["more"]]:
        assert not is_whole
    else:
        assert hint == []
        withheld = any(could_hide(filter_, reader) for filter_ in filters)
        busiest = max((sum(other.created_at == event.created_at for other in known) for event in known), default=0)
        assert any(filter_.limit == 0 for filter_ in filters) or withheld or busiest >= MOST
