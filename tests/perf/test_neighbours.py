"""The harness of neighbours: what hostile ones say is what it is called, and what is counted is counted right."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from nostr_sdk import Event  # type: ignore[import-untyped]  # ships no types

from perf.asking import EOSE, LIVE, OK
from perf.neighbours.crowd import Done, Pace, address_of, answers_in
from perf.neighbours.kinds import JUNK, KINDS, VALUES, WIDE
from perf.neighbours.memory import Memory, remember
from perf.neighbours.report import bars, summary, table
from perf.neighbours.rounds import UNANSWERED, Part, Row, Shares, house, ticks
from perf.neighbours.run import PUSHED, measure
from trio_relay import Limits

STORED = 200
AUTHORS = 20
"""Of so small a store; not all of them may have written anything."""
ASKING = ("scans", "wide", "counts", "searches", "values", "syncs", "churn", "unread", "storms")


def messages(data: bytes) -> Iterator[bytes]:
    """Of a client's frames, whose masks are zeros."""
    at = 0
    while at < len(data):
        size = {126: 2, 127: 8}.get(data[at + 1] & 0x7F, 0)
        length = int.from_bytes(data[at + 2 : at + 2 + size], "big") if size else data[at + 1] & 0x7F
        at += 2 + size + 4 + length
        yield data[at - length : at]


def said(kind: str, client: int = 3, turn: int = 5) -> list[bytes]:
    return list(messages(KINDS[kind].make(STORED)(client, turn)))


def asked(kind: str) -> Any:
    """The last message of a turn."""
    return json.loads(said(kind)[-1])


def test_there_are_eleven_kinds_and_each_has_a_rate() -> None:
    assert len(KINDS) == 11
    assert all(one.rate > 0 for one in KINDS.values())


@pytest.mark.parametrize("kind", ASKING)
def test_what_is_asked_is_within_the_limits_and_another_client_asks_otherwise(kind: str) -> None:
    limits = Limits()
    filters = [part for message in said(kind) for part in json.loads(message)[2:] if isinstance(part, dict)]
    assert filters
    assert all(len(json.loads(message)) <= 2 + limits.max_filters for message in said(kind))
    assert all(one.get("limit", 0) <= limits.max_limit for one in filters)
    values = sum(len(part) for one in filters for part in one.values() if isinstance(part, list))
    assert values <= limits.max_filter_values
    say = KINDS[kind].make(STORED)
    assert say(3, 5) == say(3, 5)
    assert say(3, 5) != say(4, 5)


@pytest.mark.parametrize(
    ("kind", "verb"), [("scans", "REQ"), ("counts", "COUNT"), ("searches", "REQ"), ("syncs", "NEG-OPEN")]
)
def test_a_kind_asks_with_its_verb(kind: str, verb: str) -> None:
    assert asked(kind)[0] == verb


def test_wide_requests_have_ten_filters_and_tags_a_thousand_values() -> None:
    assert len(asked("wide")[2:]) == WIDE
    assert all(len(one["authors"]) > AUTHORS / 2 for one in asked("wide")[2:])
    assert AUTHORS / 2 < len(set(asked("values")[2]["#p"])) <= AUTHORS < VALUES


def test_signatures_are_wrong_and_nothing_else() -> None:
    assert judged(said("signatures")[0]) == (True, False)


def judged(message: bytes) -> tuple[bool, bool]:
    """Whether the id and the signature of its event are right, by a library that nobody here wrote."""
    event = Event.from_json(message.removeprefix(b'["EVENT",')[:-1].decode())
    return event.verify_id(), event.verify_signature()


def test_junk_is_long_and_says_nothing() -> None:
    forms = [said("junk", 0, turn) for turn in range(4)]
    assert len(set(map(tuple, forms))) == 4
    for (message,) in forms:
        assert 0.85 * JUNK < len(message) <= JUNK
    letters, lists, keys, event = (message for (message,) in forms)
    assert set(letters) == {ord("x")}
    assert json.loads(lists)[0] == []
    assert json.loads(keys)[2].keys().isdisjoint({"ids", "authors", "kinds", "since", "until", "limit", "search"})
    assert not judged(event)[0]


def test_what_churns_closes_all_that_it_opens() -> None:
    pairs = [json.loads(message)[:2] for message in said("churn")]
    assert [verb for verb, _ in pairs] == ["REQ", "CLOSE"] * (len(pairs) // 2)
    assert [name for verb, name in pairs if verb == "REQ"] == [name for verb, name in pairs if verb == "CLOSE"]


def test_no_two_hostile_clients_have_one_address() -> None:
    addresses = [address_of(number) for number in range(500)]
    assert len(set(addresses)) == 500
    assert all(0 < int(part) < 255 for address in addresses for part in address.split(".")[3:])


def test_turns_come_at_their_rate_and_missed_ones_are_not_made_up_for() -> None:
    pace = Pace(0.5, 10.0)
    assert [pace.next(10.0), pace.next(10.1), pace.next(10.6)] == [10.0, 10.5, 11.0]
    assert [pace.next(20.0), pace.next(20.0)] == [20.0, 20.5]


def test_answers_are_counted_and_what_is_in_texts_is_none() -> None:
    assert answers_in(b'\x81\x0a["EOSE","x"]\x81\x10["CLOSED","x",""]\x81\x08["OK","id"]["NEG-MSG"["NOTICE"') == 5
    assert answers_in(b'["EVENT","x",{"content":"[\\"EOSE\\"]"}]') == 0


def test_cores_are_told_by_what_the_system_has_accounted() -> None:
    found = ticks("cpu  100 20 30 5000 40 5 6 70 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n", 100)
    assert (found.busy, found.stolen) == pytest.approx((1.61, 0.7))


def part(**latencies: list[float]) -> Part:
    shares = Shares(relay=0.5, honest=0.1, hostile=0.2, others=0.3, stolen=0.0)
    return Part(latencies=latencies, messages=100.0, unanswered=0, shares=shares)


def row(alone: Part, beside: Part, *, is_pushed: bool = False) -> Row:
    return Row(
        kind="churn",
        hostile=20,
        is_pushed=is_pushed,
        alone=alone,
        beside=beside,
        done=Done(turns=50),
        seconds=10.0,
        rss=(60_000_000, 80_000_000),
    )


def test_a_bar_is_three_times_the_time_alone_or_twenty_milliseconds() -> None:
    slow = row(part(OK=[0.001, 0.01], EOSE=[0.001, 0.002]), part(OK=[0.002, 0.03], EOSE=[0.001, 0.0201]))
    assert [one.is_reached for one in bars(slow)] == [True, False]
    assert [one.value for one in bars(slow)] == pytest.approx([30.0, 20.1])
    assert "NOT REACHED" in summary([slow])


def test_honest_clients_with_much_unanswered_have_a_bar_of_their_own() -> None:
    pushed = row(part(OK=[0.03, 0.05]), part(OK=[0.06, 0.151]), is_pushed=True)
    assert [one.is_reached for one in bars(pushed)] == [True, False]


def test_what_was_not_answered_at_all_is_not_taken_for_reached() -> None:
    assert [one.is_reached for one in bars(row(part(), part()))] == [None, None]


def test_a_table_has_a_line_for_each_kind() -> None:
    beside = part(**{OK: [0.002, 0.03], EOSE: [0.001, 0.004], LIVE: [0.005, 0.006]})
    head, line = table([row(part(OK=[0.001, 0.01]), beside)]).splitlines()
    assert head.split()[-2:] == ["MB", "then"]
    assert " ".join(line.split()) == "churn 20 5 1/10 2/30 - 1/4 5/6 0 0.50 0.20 0.10 0.30 0.00 60 80"


def test_what_stays_in_memory_is_held_to_the_start() -> None:
    memory = Memory(start=60_000_000, by_kind={"wide": 290_000_000, "junk": 301_000_000}, after=[0, 119_000_000])
    assert [one.is_reached for one in memory.verdicts] == [False, True]


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["churn", "unread", "storms", PUSHED])
def test_honest_clients_are_answered_beside_who_stays_reads_nothing_or_comes_and_goes(kind: str) -> None:
    (found,) = measure([kind], sys.executable, 2, print, scale=0.05).rows
    assert found.done.turns > 0
    assert found.beside.unanswered <= (UNANSWERED if found.is_pushed else 0)
    assert found.beside.latencies.keys() == ({OK} if found.is_pushed else {OK, EOSE, LIVE})
    assert found.beside.shares.relay > 0


@pytest.mark.exhaustive
def test_memory_is_looked_at_after_each_kind_and_after_all() -> None:
    told: list[str] = []
    with house(sys.executable, told.append, scale=0.02) as one:
        found = remember(one, ("counts", "churn"), 2, told.append)
    assert found.by_kind.keys() == {"counts", "churn"}
    assert min(found.start, *found.by_kind.values(), *found.after) > 0
    assert msgspec.json.decode(msgspec.json.encode(found), type=Memory) == found
