"""What SQLite is told to have done for an answer: its plan in words, and the rows of an index that it went through."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.test_search import looking_for
from tests.store import test_plan
from tests.store.inside import counted_and_not, explained, filled
from tests.support.keys import ALICE, BOB, NOW
from tests.support.readers import reading
from tests.support.strategies import events, filters
from trio_relay import Event, Filter
from trio_relay.store import insight

PLANNED: Final = {
    name: one for table in (test_plan.IN_ORDER, test_plan.SORTED, test_plan.WALKS) for name, (one, _) in table.items()
}
WORDS: Final = {
    text: looking_for(text, limit=10)
    for text in ("tea", "green tea", '"green tea" -black', "-tea", "domain:example.com", "language:en tea", "")
}
TEN: Final = [ALICE.event(f"green tea {n}", created_at=NOW + n, tags=[["t", f"{n % 2}"]]) for n in range(10)]
EVENTS: Final = [*TEN, BOB.event("cake", created_at=NOW + 20, tags=[["t", "1"], ["t", "0"]])]


def told(stored: list[Event], asked: Filter) -> insight.Explanation:
    connection = filled(stored)
    found = explained(connection, asked, NOW)
    connection.close()
    return found


COUNTED: Final[dict[str, tuple[Filter, int, int]]] = {
    "in order, up to the limit": (Filter(kinds=frozenset([1]), limit=3), 3, 3),
    "gathered, whatever the limit": (Filter(authors=frozenset([ALICE.pubkey]), limit=3), 10, 3),
    "two conditions, of which an index answers one": (
        Filter(tags=(("t", frozenset("1")),), authors=frozenset([BOB.pubkey]), kinds=None, limit=3),
        1,
        1,
    ),
    "a tag of many authors": (
        Filter(
            tags=(("t", frozenset("0")),), authors=frozenset([BOB.pubkey, *map("{:064x}".format, range(9))]), limit=9
        ),
        6,
        1,
    ),
    "walks with an event of both": (Filter(tags=(("t", frozenset("01")),), limit=20), 12, 11),
    "words": (WORDS["tea"], 10, 10),
    "words of which some have one": (WORDS["green tea"], 10, 10),
    "nothing that could match": (Filter(kinds=frozenset(), limit=3), 0, 0),
    "nothing that is stored": (Filter(kinds=frozenset([7]), limit=3), 0, 0),
}


@pytest.mark.parametrize(("asked", "rows", "found"), COUNTED.values(), ids=COUNTED)
def test_each_row_that_the_index_gives_is_counted(asked: Filter, rows: int, found: int) -> None:
    explained = told(EVENTS, asked)
    assert (explained.looked_at, explained.found) == (rows, found)


@pytest.mark.parametrize("asked", (PLANNED | WORDS).values(), ids=PLANNED | WORDS)
def test_counting_changes_neither_the_plan_nor_the_answer(asked: Filter) -> None:
    connection = filled(EVENTS)
    for counted, plain in counted_and_not(connection, asked):
        assert counted == plain
    connection.close()


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(events(), max_size=12).flatmap(lambda known: st.tuples(st.just(known), filters(known))))
def test_no_answer_has_more_than_was_gone_through(known: tuple[list[Event], Filter]) -> None:
    stored, asked = known
    explained = told(stored, asked.with_limit(default=5, most=5).read_by(reading()))
    assert explained.found is not None
    assert explained.looked_at is not None
    assert explained.looked_at >= explained.found


@pytest.mark.parametrize(
    ("asked", "plan"),
    [
        (Filter(limit=1), [("event_time", "reads events by time: all, newest first")]),
        (
            Filter(kinds=frozenset([1, 2, 3]), since=5, limit=1),
            [
                ("event_kind", "reads events by kind, and then by time: those where kind=? and created_at>?; 3 times"),
                (None, "puts what was found in order; 3 times"),
            ],
        ),
        (
            Filter(tags=(("t", frozenset("x")), ("p", frozenset("y"))), kinds=frozenset([1]), limit=1),
            [
                ("tag", "reads tags by value, and then by time: those where key=?"),
                ("tag", "looks up whether each has the other tags"),
            ],
        ),
        (
            WORDS["tea"],
            [
                ("word", "finds the words"),
                ("event", "looks up each event by its number"),
                (None, "puts what was found in order"),
            ],
        ),
        (
            looking_for("sort:hot", limit=1, kinds=[1]),
            [
                ("event_kind", "reads events by kind, and then by time: those where kind=? and created_at>?"),
                ("tag", "counts the keys that refer to each, and puts them in that order"),
            ],
        ),
    ],
)
def test_the_plan_is_told_in_words(asked: Filter, plan: list[tuple[str | None, str]]) -> None:
    assert [(step.index, step.detail) for step in told(EVENTS, asked).plan] == plan
