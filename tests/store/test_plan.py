"""Which index answers which filter: read in order up to the limit where one value is asked for, no table ever whole."""

from __future__ import annotations

import re
from typing import Final

import apsw
import pytest
from msgspec.structs import replace

from tests.support.readers import reading
from trio_relay import Filter
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.planner import plan, plan_single
from trio_relay.store.sqlite.sql import Select

IDS: Final = [f"{number:064x}" for number in range(40)]
STEP: Final = re.compile(
    r"(SEARCH|SCAN) (event|tag|other)\b.*? USING (?:COVERING )?(INDEX \w+|(?:INTEGER )?PRIMARY KEY)"
)
LOOKUP: Final = "SEARCH other PRIMARY KEY"
AUTHOR_OF: Final = "SEARCH event INTEGER PRIMARY KEY"
TAG: Final = "SEARCH tag PRIMARY KEY"


def asking(
    ids: int = 0, authors: int = 0, kinds: int = 0, since: int | None = None, until: int | None = None, **tags: int
) -> Filter:
    """A filter with so many values of each key; one with tags is asked by nobody in particular.

    Tags of private kinds have keys of their own, which are looked at for those who may read them.
    """
    return Filter(
        ids=frozenset(IDS[:ids]) if ids else None,
        authors=frozenset(IDS[:authors]) if authors else None,
        kinds=frozenset(range(kinds)) if kinds else None,
        tags=tuple((letter, frozenset(map(str, range(count)))) for letter, count in tags.items()),
        since=since,
        until=until,
        limit=10,
        reader=reading() if tags and not ids else None,
    )


IN_ORDER: Final[dict[str, tuple[Filter, list[str]]]] = {
    "everything": (asking(), ["SCAN event INDEX event_time"]),
    "since": (asking(since=1), ["SEARCH event INDEX event_time"]),
    "until": (asking(until=1), ["SEARCH event INDEX event_time"]),
    "since and until": (asking(since=1, until=2), ["SEARCH event INDEX event_time"]),
    "one kind": (asking(kinds=1), ["SEARCH event INDEX event_kind"]),
    "one kind since": (asking(kinds=1, since=1), ["SEARCH event INDEX event_kind"]),
    "one author's kind": (asking(authors=1, kinds=1), ["SEARCH event INDEX event_author_kind"]),
    "one tag": (asking(t=1), [TAG]),
    "one tag since": (asking(t=1, since=1), [TAG]),
    "one tag of a kind": (asking(t=1, kinds=1), [TAG]),
    "one tag of many kinds": (asking(t=1, kinds=40), [TAG]),
    "one tag of many authors": (asking(t=1, authors=9), [TAG, AUTHOR_OF]),
    "one tag of an author's kind": (
        asking(t=1, authors=1, kinds=1),
        ["SEARCH event INDEX event_author_kind", LOOKUP],
    ),
    "one tag that names an event, of an author": (asking(e=1, authors=1), [TAG, AUTHOR_OF]),
    "two letters": (asking(t=1, p=1), [TAG, LOOKUP]),
    "two letters, many values of one": (asking(t=9, p=1), [TAG, LOOKUP]),
    "two letters, one that names an event": (asking(t=1, e=1), [TAG, LOOKUP]),
    "three letters": (asking(t=1, p=2, g=3), [TAG, LOOKUP, LOOKUP]),
}
SORTED: Final[dict[str, tuple[Filter, list[str]]]] = {
    "one id": (asking(ids=1), ["SEARCH event INDEX event_rank"]),
    "ids": (asking(ids=2), ["SEARCH event INDEX event_rank"]),
    "ids of authors and kinds": (asking(ids=2, authors=2, kinds=2), ["SEARCH event INDEX event_rank"]),
    "ids with a tag": (asking(ids=2, t=1), ["SEARCH event INDEX event_rank", LOOKUP]),
    "many ids": (asking(ids=40), ["SEARCH event INDEX event_rank"]),
    "many kinds": (asking(kinds=33), ["SEARCH event INDEX event_kind"]),
    "one author": (asking(authors=1), ["SEARCH event INDEX event_author_kind"]),
    "one author until": (asking(authors=1, until=1), ["SEARCH event INDEX event_author_kind"]),
    "one tag of an author": (asking(t=1, authors=1), ["SEARCH event INDEX event_author_kind", LOOKUP]),
    "authors": (asking(authors=2), ["SEARCH event INDEX event_author_kind"]),
    "many authors": (asking(authors=40), ["SEARCH event INDEX event_author_kind"]),
    "authors' kinds": (asking(authors=2, kinds=2), ["SEARCH event INDEX event_author_kind"]),
    "an author's kinds": (asking(authors=1, kinds=2), ["SEARCH event INDEX event_author_kind"]),
    "authors' tag": (asking(authors=8, t=1), ["SEARCH event INDEX event_author_kind", LOOKUP]),
    "many tags": (asking(t=5), [TAG]),
    "many tags of two letters": (asking(e=5, t=6), [TAG, LOOKUP]),
}
WALKS: Final[dict[str, tuple[Filter, list[str]]]] = {
    "two kinds": (asking(kinds=2), ["SEARCH event INDEX event_kind"] * 2),
    "32 kinds": (asking(kinds=32, since=1), ["SEARCH event INDEX event_kind"] * 32),
    "two tags": (asking(t=2), [TAG] * 2),
    "four tags of a kind": (asking(e=4, kinds=1), [TAG] * 4),
    "two tags of two letters": (asking(p=2, t=3), [TAG, LOOKUP] * 2),
    "letters that name an event go first": (asking(t=1, q=4), [TAG, LOOKUP] * 4),
}
SORT: Final = "USE TEMP B-TREE FOR ORDER BY"


def explained(*filters: Filter) -> list[str]:
    select = plan(filters)
    assert select is not None
    return explanation(select)


def explanation(select: Select) -> list[str]:
    connection = apsw.Connection(":memory:")
    schema.prepare(connection, "")
    rows = connection.execute(f"EXPLAIN QUERY PLAN {select.sql}", tuple(select.bindings)).fetchall()
    connection.close()
    return [str(detail) for _, _, _, detail in rows]


def steps(lines: list[str]) -> list[str]:
    """How each table is reached, without the columns."""
    return [" ".join(found.groups()) for line in lines if (found := STEP.match(line))]


@pytest.mark.parametrize(("one", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_one_value_is_read_off_an_index_in_order(one: Filter, expected: list[str]) -> None:
    lines = explained(one)
    assert steps(lines) == expected
    assert not any("TEMP B-TREE" in line for line in lines)


@pytest.mark.parametrize(("one", "expected"), SORTED.values(), ids=SORTED)
def test_many_values_are_gathered_from_an_index_and_sorted_once(one: Filter, expected: list[str]) -> None:
    lines = explained(one)
    assert steps(lines) == expected
    assert lines.count(SORT) == 1


@pytest.mark.parametrize(("one", "expected"), WALKS.values(), ids=WALKS)
def test_few_values_get_a_walk_each(one: Filter, expected: list[str]) -> None:
    """What is sorted is the end of a walk, no longer than the limit."""
    lines = explained(one)
    assert steps(lines) == expected
    assert lines.count(SORT) == len([step for step in expected if step != LOOKUP])


def test_several_filters_get_a_plan_each() -> None:
    assert steps(explained(asking(kinds=1), asking(authors=1), asking(t=1), asking())) == [
        "SEARCH event INDEX event_kind",
        "SEARCH event INDEX event_author_kind",
        TAG,
        "SCAN event INDEX event_time",
    ]


@pytest.mark.parametrize(
    ("one", "expected"), [*IN_ORDER.values(), *SORTED.values(), *WALKS.values()], ids=[*IN_ORDER, *SORTED, *WALKS]
)
def test_whole_events_are_left_alone_until_the_answer_is_known(one: Filter, expected: list[str]) -> None:
    """Of the table itself only rows found by id, or the author of a tagged event, are looked at."""
    lines = [line for line in explained(one) if line.startswith(("SEARCH event", "SCAN event"))]
    assert [
        line for line in lines if "COVERING" not in line and not re.search(r"event_rank|INTEGER PRIMARY", line)
    ] == []
    assert len(lines) == len([step for step in expected if " event " in step])


@pytest.mark.parametrize(
    "filters",
    [
        [],
        [replace(asking(), limit=0)],
        [replace(asking(), ids=frozenset())],
        [replace(asking(), authors=frozenset()), replace(asking(), kinds=frozenset())],
        [replace(asking(), tags=(("t", frozenset()),)), asking(since=2, until=1)],
    ],
)
def test_what_can_find_nothing_gets_no_plan(filters: list[Filter]) -> None:
    assert plan(filters) is None


def test_hopeless_filters_are_left_out_of_the_plan() -> None:
    one, same = plan([replace(asking(), limit=0), asking(kinds=1), asking(since=2, until=1)]), plan([asking(kinds=1)])
    assert one is not None
    assert same is not None
    assert (one.sql, one.bindings) == (same.sql, same.bindings)


@pytest.mark.parametrize(
    "one", [asking(ids=1), asking(ids=1, authors=5, kinds=5, since=1, until=2, t=1)], ids=["alone", "with all else"]
)
def test_one_id_is_looked_up_by_its_rank_without_a_sort(one: Filter) -> None:
    select = plan_single([one])
    assert select is not None
    assert select.sql.count("?") == len(select.bindings)
    lines = explanation(select)
    assert [step for step in steps(lines) if step != LOOKUP] == ["SEARCH event INDEX event_rank"]
    assert not any("TEMP B-TREE" in line for line in lines)


@pytest.mark.parametrize(
    "filters",
    [
        [],
        [asking()],
        [asking(ids=2)],
        [asking(authors=1)],
        [asking(ids=1), asking(ids=1)],
        [asking(ids=1), asking(kinds=1)],
        [replace(asking(), ids=frozenset())],
        [replace(asking(ids=1), limit=0)],
        [replace(asking(ids=1), kinds=frozenset())],
        [asking(ids=1, since=2, until=1)],
    ],
)
def test_whatever_may_find_more_than_one_event_or_none_gets_no_single_plan(filters: list[Filter]) -> None:
    assert plan_single(filters) is None


@pytest.mark.parametrize("key", ["ids", "authors", "kinds", "t"])
@pytest.mark.parametrize("count", [1, 2, 4, 5, 40])
def test_few_values_stand_in_the_text_as_question_marks_and_many_in_a_table(key: str, count: int) -> None:
    if key == "kinds":  # as many kinds alone get a walk each
        one = asking(authors=1, kinds=count)
    elif key == "t":
        one = asking(authors=1, t=count)
    else:
        one = asking(**{key: count})
    select = plan([one])
    assert select is not None
    assert ("carray(?)" in select.sql) == (count > 4)
    assert (f"IN ({', '.join('?' * count)})" in select.sql) == (1 < count <= 4)
    assert select.sql.count("?") == len(select.bindings)


def test_many_values_of_any_number_share_one_text() -> None:
    """Each text is prepared for itself, and kept."""
    few, many = (plan([asking(ids=count, authors=count, kinds=count, t=count)]) for count in (5, 40))
    assert few is not None
    assert many is not None
    assert few.sql == many.sql


def test_no_value_stands_in_the_text() -> None:
    evil = frozenset(["'; DROP TABLE event; --"])
    select = plan([Filter(tags=(("t", evil), ("p", evil)), authors=frozenset(IDS[:1]), limit=10)])
    assert select is not None
    assert "DROP" not in select.sql
    assert "10" not in select.sql
    assert select.sql.count("?") == len(select.bindings)
