"""What a query costs in SQLite does not depend on private events that its reader may not read: steps are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import apsw
import pytest

from tests.support.keys import NOW
from trio_relay.nostr.access import NOBODY, Reader
from trio_relay.nostr.event import Event, compute_id
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.batch_writer import insert_events
from trio_relay.store.sqlite.planner import plan, plan_count, plan_records, plan_sketch
from trio_relay.store.sqlite.sql import Select

ASKER, SOMEBODY, OTHER = ("a" * 64, "b" * 64, "c" * 64)
TARGET: Final = "e" * 64
HIDDEN: Final = 300


def event(kind: int, number: int, pubkey: str, *names: str, target: str = TARGET) -> Event:
    tags = [["e", target], *(["p", name] for name in names)]
    event_id = compute_id(pubkey, NOW + number, kind, tags, "")
    return Event(event_id, pubkey, NOW + number, kind, tags, "", "5" * 128)


PUBLIC: Final = [event(kind, number, SOMEBODY, ASKER, SOMEBODY) for number in range(20) for kind in (1, 7)]
OTHERS: Final = [
    event(kind, number, key, key, target=key)
    for number, key in enumerate(f"{number:02x}" * 32 for number in range(200))
    for kind in (1, 4, 1_059)
    if key not in (ASKER, SOMEBODY, OTHER, TARGET)
]
"""So that no walk comes to the end of an index: to see that is a step less."""
OWN: Final = [
    *(event(1_059, number, OTHER, ASKER, SOMEBODY) for number in range(5)),
    *(event(4, number, ASKER, SOMEBODY) for number in range(5)),
    *(event(4, number, SOMEBODY, ASKER) for number in range(5)),
]


def filled(*stored: Iterable[Event]) -> apsw.Connection:
    connection = apsw.Connection(":memory:")
    schema.prepare(connection, "")
    schema.tune(connection, cache_bytes=2**20)
    insert_events(connection, list(enumerate((one for some in stored for one in some), 1)))
    return connection


def steps(connection: apsw.Connection, select: Select | None) -> int:
    """What SQLite's machine does for this, in its own instructions; each row that is looked at takes some."""
    done: list[int] = []
    if select is None:
        return 0
    connection.trace_v2(
        apsw.SQLITE_TRACE_PROFILE, lambda seen: done.append(seen["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"])
    )
    try:
        connection.execute(select.sql, tuple(select.bindings)).fetchall()
    finally:
        connection.trace_v2(0, None)
    return sum(done)


def limited(one: Filter) -> Filter:
    return one.with_limit(default=10, most=100)


WAYS: Final[dict[str, Callable[[Filter], Select | None]]] = {
    "count": lambda one: plan_count([one], 7),
    "query": lambda one: plan([limited(one)], 7),
    "records": lambda one: plan_records(one, 7),
}
QUESTIONS: Final[dict[str, dict[str, Any]]] = {
    "a name": {"#p": [SOMEBODY]},
    "a name, of a public kind": {"#p": [SOMEBODY], "kinds": [1]},
    "a name, of wraps": {"#p": [SOMEBODY], "kinds": [1_059]},
    "a name, of wraps and notes": {"#p": [SOMEBODY], "kinds": [1, 1_059]},
    "a name, of messages and notes": {"#p": [SOMEBODY], "kinds": [1, 4]},
    "a name, in a time": {"#p": [SOMEBODY], "since": NOW, "until": NOW + 10},
    "a note": {"#e": [TARGET]},
    "a note, of messages and reactions": {"#e": [TARGET], "kinds": [4, 7]},
    "a note and a name": {"#e": [TARGET], "#p": [SOMEBODY]},
    "wraps": {"kinds": [1_059]},
    "wraps and notes": {"kinds": [1, 1_059]},
    "an author's notes": {"authors": [SOMEBODY], "kinds": [1]},
    "an author's messages": {"authors": [SOMEBODY], "kinds": [4]},
    "an author's messages and notes": {"authors": [SOMEBODY], "kinds": [1, 4]},
    "an author's messages to somebody": {"authors": [SOMEBODY], "kinds": [1, 4], "#p": [OTHER]},
}
READERS: Final = {"nobody": NOBODY, "somebody else": Reader(frozenset([ASKER]))}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("one", QUESTIONS.values(), ids=QUESTIONS)
def test_the_messages_of_others_cost_nothing(
    one: dict[str, Any], way: Callable[[Filter], Select | None], reader: Reader
) -> None:
    """Else the time that a COUNT takes would tell whether somebody has any."""
    hidden = [event(1_059, number, OTHER, SOMEBODY) for number in range(HIDDEN)]
    hidden += [event(4, number, SOMEBODY, OTHER) for number in range(HIDDEN)]
    asked = way(parse_filter(one).read_by(reader))
    few, many = (steps(filled(OTHERS, PUBLIC, OWN, some), asked) for some in ([], hidden))
    assert few == many


def test_steps_tell_how_many_rows_are_looked_at() -> None:
    """Or the test above would show nothing."""
    asked = plan_count([Filter(tags=(("p", frozenset([SOMEBODY])),))])
    more = [event(1, number, OTHER, SOMEBODY) for number in range(HIDDEN)]
    few, many = (steps(filled(OTHERS, PUBLIC, OWN, some), asked) for some in ([], more))
    assert many >= few + 3 * HIDDEN


def test_a_sketch_looks_at_no_message() -> None:
    asked = plan_sketch(parse_filter({"#e": [TARGET], "kinds": [7]}).read_by(NOBODY))
    hidden = [event(4, number, OTHER, SOMEBODY) for number in range(HIDDEN)]
    few, many = (steps(filled(OTHERS, PUBLIC, some), asked) for some in ([], hidden))
    assert few == many
