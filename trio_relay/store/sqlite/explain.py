"""Explains an answer: which index SQLite reads, what of it, and how long that takes. Runs in a reader's thread.

The plan is SQLite's own (`EXPLAIN QUERY PLAN`) for the SQL that the answer comes from, in words. SQLite can count the
rows that each loop goes through only if it was built for it (`SQLITE_ENABLE_STMT_SCANSTATUS`), which apsw's is not, and
the counters of a statement know steps of its machine and of full scans alone. So the rows are counted by a second run,
in which the first condition on each row of an index is a function of ours, which is always true.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Final

import apsw

from trio_relay.nostr.filter import Filter
from trio_relay.nostr.ranking import candidates
from trio_relay.store.insight import Explanation, PlanStep
from trio_relay.store.sqlite import fetch
from trio_relay.store.sqlite.event_cache import EventCache
from trio_relay.store.sqlite.planner import HITS, SCORED_HITS, WHOLE_FIRST, plan, plan_newest, plan_one
from trio_relay.store.sqlite.search import numbers
from trio_relay.store.sqlite.sql import Select


class Inquiry:
    """What is found out of one filter, as far as it has come: a thread that is interrupted leaves its part here.

    Args:
        filter_: it has a limit.
        now: seconds since 1970, for searches that look at ages.
        expired_by: events that expire up to this second are left out; None if no stored event does.
    """

    def __init__(self, filter_: Filter, now: int, expired_by: int | None) -> None:
        self._filter = filter_
        self._now = now
        self._expired_by = expired_by
        self._select = _select(filter_, now, expired_by)
        self._plan: tuple[PlanStep, ...] = ()
        self._began = self._seconds = 0.0
        self._found: int | None = None
        self._rows = 0

    def answer(self, connection: apsw.Connection, cache: EventCache | None) -> None:
        """Find the plan, and then the answer, as for a client; measure how long that takes.

        Raises:
            apsw.InterruptError: it was interrupted.
            apsw.Error: the database could not answer.
        """
        if self._select is not None:
            self._plan = tuple(_told(_steps(connection, self._select), is_sorted=_ranks(self._filter)))
        began = time.perf_counter()
        try:
            self._found = self._answer(connection, cache)
        finally:
            self._seconds = time.perf_counter() - began

    def _answer(self, connection: apsw.Connection, cache: EventCache | None) -> int:
        cursor, found = fetch.Cursor(), 0
        page = fetch.first_page(connection, [self._filter], cursor, self._now, self._expired_by, cache)
        while page:
            found += len(page)
            page = fetch.next_page(connection, cursor, self._expired_by)
        return found

    def walk(self, connection: apsw.Connection) -> None:
        """Find the answer's rows again, and count all that are gone through.

        Raises:
            apsw.InterruptError: it was interrupted.
            apsw.Error: the database could not answer.
        """
        if self._select is not None:
            connection.create_scalar_function(_COUNTER, self._count, 1)
            numbers(connection, counting(self._select))

    def _count(self, *_row: object) -> bool:
        self._rows += 1
        return True

    def told(self) -> Explanation:
        """What has been found out."""
        return Explanation(self._plan, self._rows, self._seconds, self._found)


def _select(filter_: Filter, now: int, expired_by: int | None) -> Select | None:
    """The SELECT of narrow rows that `fetch` runs for this filter."""
    if not filter_.wants_stored:
        return None
    if filter_.search is None:
        return plan([filter_], expired_by)
    return plan_newest(candidates(filter_, now), expired_by) if _ranks(filter_) else plan_one(filter_, expired_by)


def _ranks(filter_: Filter) -> bool:
    return filter_.search is not None and filter_.search.sort is not None


_COUNTER: Final = "gone_through"
_WORDS: Final = "|".join(map(re.escape, (HITS, SCORED_HITS, WHOLE_FIRST)))
_WALK: Final = re.compile(
    r"(SELECT (?:DISTINCT )?created_at, rank, seq FROM (?:tag|event INDEXED BY \w+"  # noqa: S608  # a pattern
    rf"|\((?:{_WORDS})\) AS (hit) CROSS JOIN event ON event\.seq = hit\.found))( WHERE)?"
)
"""The head of a walk over an index, as `planner` writes it; texts of clients are bound, and stand in no SQL."""


def counting(select: Select) -> Select:
    """Make the same SELECT with each row that an index gives counted, before any other condition is looked at.

    SQLite looks at the conditions in the order in which they stand, those first that the index itself can answer, and
    subqueries last. Rows that subqueries look up beside, such as another tag of the same event, are not counted.
    """

    def counted(head: re.Match[str]) -> str:
        row = "seq" if head[2] is None else "hit.found"
        return f"{head[1]} WHERE {_COUNTER}({row}){'' if head[3] is None else ' AND'}"

    return Select(_WALK.sub(counted, select.sql), select.bindings)


def _steps(connection: apsw.Connection, select: Select) -> Iterator[str]:
    rows = connection.execute(f"EXPLAIN QUERY PLAN {select.sql}", tuple(select.bindings))
    return (str(detail) for _, _, _, detail in rows)


_READING: Final = re.compile(
    r"(?:SEARCH|SCAN) (\w+) (?:USING (?:COVERING )?)?(INDEX \w+|\w* ?PRIMARY KEY|VIRTUAL TABLE)(.*)"
)
_SORTING: Final = "USE TEMP B-TREE FOR ORDER BY"
_BY: Final = {
    "event_rank": "by id",
    "event_time": "by time",
    "event_kind": "by kind, and then by time",
    "event_author_kind": "by author and kind, and then by time",
}
"""What each index of `schema` is in the order of."""
_BESIDE: Final = {
    "event": ("event", "looks up each event by its number"),
    "other": ("tag", "looks up whether each has the other tags"),
    "expiry": ("expiry", "looks up whether each has expired"),
    "claim": ("tag", "finds the profiles of the domain"),
    "profile": ("event", "looks up whose profiles those are"),
    "word": ("word", "finds the words"),
}
"""What is read by the names that it has in the SQL of `planner` and `sql`."""


def _told(steps: Iterator[str], *, is_sorted: bool) -> Iterator[PlanStep]:
    """Put SQLite's plan into words, equal steps together, in the order of their first."""
    found: dict[PlanStep, int] = {}
    for step in steps:
        if (told := _in_words(step)) is not None:
            found[told] = found.get(told, 0) + 1
    for told, times in found.items():
        yield told if times == 1 else PlanStep(told.index, f"{told.detail}; {times} times")
    if is_sorted:
        yield PlanStep("tag", "counts the keys that refer to each, and puts them in that order")


def _in_words(step: str) -> PlanStep | None:
    if step == _SORTING:
        return PlanStep(None, "puts what was found in order")
    if (read := _READING.match(step)) is None or read[1] == "carray":
        return None  # parts of the question itself, and what holds other steps together
    table, way, where = read[1], read[2].removeprefix("INDEX "), read[3].strip()
    if way in _BY:
        return PlanStep(way, f"reads events {_BY[way]}: {_range(where)}")
    if table == "tag":
        return PlanStep("tag", f"reads tags by value, and then by time: {_range(where)}")
    index, detail = _BESIDE[table]
    return PlanStep(index, detail)


def _range(where: str) -> str:
    """Say how much of an index is read: what its conditions leave, or all of it."""
    return f"those where {where.strip('()').replace(' AND ', ' and ')}" if where else "all, newest first"
