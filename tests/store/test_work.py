"""What a query costs in SQLite does not depend on private events that its reader may not read: steps are counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import apsw
import pytest

from tests.store.inside import database_of
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.readers import reading
from trio_relay import Event, Filter
from trio_relay.nostr.filter import parse_filter
from trio_relay.store.sqlite.planner import plan, plan_count, plan_records, plan_sketch

TARGET: Final = "e" * 64


def event(kind: int, number: int, author: Author, *names: Author, target: str = TARGET) -> Event:
    tags = [["e", target], *(["p", name.pubkey] for name in names)]
    return author.event(str(number), kind=kind, created_at=NOW + number, tags=tags)


PUBLIC: Final = [event(kind, number, BOB, ALICE, BOB) for number in range(20) for kind in (1, 7)]
OWN: Final = [
    *(event(1_059, number, CAROL, ALICE, BOB) for number in range(5)),
    *(event(4, number, ALICE, BOB) for number in range(5)),
    *(event(4, number, BOB, ALICE) for number in range(5)),
]
AROUND: Final = [
    event(kind, 0, key, key, target=key.pubkey) for key in map(Author, map(str, range(200))) for kind in (1, 4, 1_059)
]
"""So that no walk comes to the end of an index: to see that is a step less."""


HIDDEN: Final = [
    event(kind, number, *names) for number in range(300) for kind, *names in ((1_059, CAROL, BOB), (4, BOB, CAROL))
]
MORE: Final = [event(1, number, CAROL, BOB) for number in range(300)]
STORED: Final = {
    "public": PUBLIC,
    "own": [*PUBLIC, *OWN],
    "hidden": [*PUBLIC, *OWN, *HIDDEN],
    "more": [*PUBLIC, *OWN, *MORE],
}


@cache
def database(name: str) -> apsw.Connection:
    return database_of([*AROUND, *STORED[name]])


def steps(name: str, select: Any) -> int:
    """What SQLite's machine does for this query, in its own instructions; each row that it looks at takes some."""
    done: list[int] = []
    if select is not None:
        database(name).trace_v2(
            apsw.SQLITE_TRACE_PROFILE, lambda seen: done.append(seen["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"])
        )
        database(name).execute(select.sql, tuple(select.bindings)).fetchall()
    return sum(done)


def limited(one: Filter) -> Filter:
    return one.with_limit(default=10, most=100)


WAYS: Final[dict[str, Callable[[Filter], Any]]] = {
    "count": lambda one: plan_count([one], 7),
    "query": lambda one: plan([limited(one)], 7),
    "records": lambda one: plan_records(one, 7),
}
QUESTIONS: Final[dict[str, dict[str, Any]]] = {
    "a name": {"#p": [BOB.pubkey]},
    "a name, of a public kind": {"#p": [BOB.pubkey], "kinds": [1]},
    "a name, of wraps": {"#p": [BOB.pubkey], "kinds": [1_059]},
    "a name, of wraps and notes": {"#p": [BOB.pubkey], "kinds": [1, 1_059]},
    "a name, of messages and notes": {"#p": [BOB.pubkey], "kinds": [1, 4]},
    "a name, in a time": {"#p": [BOB.pubkey], "since": NOW, "until": NOW + 10},
    "a note": {"#e": [TARGET]},
    "a note, of messages and reactions": {"#e": [TARGET], "kinds": [4, 7]},
    "a note and a name": {"#e": [TARGET], "#p": [BOB.pubkey]},
    "wraps": {"kinds": [1_059]},
    "wraps and notes": {"kinds": [1, 1_059]},
    "an author's notes": {"authors": [BOB.pubkey], "kinds": [1]},
    "an author's messages": {"authors": [BOB.pubkey], "kinds": [4]},
    "an author's messages and notes": {"authors": [BOB.pubkey], "kinds": [1, 4]},
    "an author's messages to somebody": {"authors": [BOB.pubkey], "kinds": [1, 4], "#p": [CAROL.pubkey]},
}
READERS: Final = {"nobody": [], "somebody else": [ALICE.pubkey]}


@pytest.mark.parametrize("keys", READERS.values(), ids=READERS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("one", QUESTIONS.values(), ids=QUESTIONS)
def test_the_messages_of_others_cost_nothing(
    one: dict[str, Any], way: Callable[[Filter], Any], keys: list[str]
) -> None:
    """Else the time that a COUNT takes would tell whether somebody has any."""
    asked = way(parse_filter(one).read_by(reading(*keys)))
    assert steps("own", asked) == steps("hidden", asked)


def test_steps_tell_how_many_rows_are_looked_at() -> None:
    """Or the test above would show nothing."""
    asked = plan_count([parse_filter({"#p": [BOB.pubkey]}).read_by(reading())])
    assert steps("more", asked) >= steps("own", asked) + 3 * len(MORE)


def test_a_sketch_looks_at_no_message() -> None:
    asked = plan_sketch(parse_filter({"#e": [TARGET], "kinds": [7]}).read_by(reading()))
    assert steps("public", asked) == steps("hidden", asked)
