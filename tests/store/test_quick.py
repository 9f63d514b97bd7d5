"""Answers on the loop: late ones are broken off, their like are avoided for a while, and failures are nobody's news."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations_with_replacement
from pathlib import Path
from sys import getsizeof
from typing import Final

import apsw
import pytest

from tests.store.quickness import EVENTS, EVERYTHING, IDS, SMALL, SOME_IDS, Clock, Speed, all_events, known, of_a_kind
from tests.support.keys import ALICE
from trio_relay import Filter
from trio_relay.nostr.event import encode
from trio_relay.store.sqlite import fetch, loop_reader
from trio_relay.store.sqlite.batch_writer import BatchWriter
from trio_relay.store.sqlite.loop_reader import LoopReader

SEARCHES: Final = pytest.mark.parametrize("search", [all_events, of_a_kind, known])


def test_what_is_found_in_time_is_the_answer(quick_reader: LoopReader) -> None:
    newest_first = sorted(EVENTS, key=lambda event: event.id)
    assert quick_reader.query([EVERYTHING]) == [encode(event) for event in newest_first]
    assert quick_reader.query([SMALL]) == [encode(EVENTS[0])]
    assert quick_reader.known([*SOME_IDS[1:], "a" * 64]) == set(SOME_IDS[1:])
    assert quick_reader.query([Filter(limit=0)]) == []


@SEARCHES
def test_a_late_search_is_broken_off_in_the_midst(
    quick_reader: LoopReader, clock: Clock, search: Callable[[LoopReader], object]
) -> None:
    """At the first look that finds it late, of more that it would have taken; the last is after its end."""
    search(quick_reader)
    whole = clock.looks
    clock.per_look = 0.0015
    assert search(quick_reader) is None
    assert clock.looks - whole == 4
    assert whole > 6
    clock.per_look = 0.0
    assert search(quick_reader) is not None


def test_a_search_that_ends_before_anybody_looks_is_in_time(quick_reader: LoopReader, clock: Clock) -> None:
    clock.per_look = 1.0
    assert quick_reader.query([SMALL]) == [encode(EVENTS[0])]


@SEARCHES
def test_after_three_late_ones_in_a_row_the_like_are_avoided_for_a_second(
    speed: Speed, clock: Clock, search: Callable[[LoopReader], object]
) -> None:
    assert [speed.late(search) for _ in range(4)] == [True, True, True, False]
    assert not speed.in_time(search)
    clock.now += 0.98
    assert not speed.in_time(search)
    clock.now += 0.02
    assert speed.in_time(search)


@SEARCHES
def test_what_is_late_again_after_that_second_is_avoided_for_another(
    speed: Speed, clock: Clock, search: Callable[[LoopReader], object]
) -> None:
    for _ in range(3):
        speed.late(search)
    for _ in range(3):
        clock.now += 1.0
        assert speed.late(search)
        assert not speed.in_time(search)


@SEARCHES
def test_one_in_time_makes_up_for_those_before(speed: Speed, search: Callable[[LoopReader], object]) -> None:
    for _ in range(3):
        assert [speed.late(search), speed.late(search), speed.in_time(search)] == [True] * 3
    assert [speed.late(search) for _ in range(4)] == [True, True, True, False]


def test_other_shapes_are_not_avoided_and_other_values_are(speed: Speed, quick_reader: LoopReader) -> None:
    for _ in range(3):
        speed.late(of_a_kind)
    assert quick_reader.query([Filter(kinds=frozenset([7]), limit=1)]) is None
    assert quick_reader.query([Filter(kinds=frozenset([7]), limit=1, since=1)]) == []
    assert speed.in_time(all_events)
    assert speed.in_time(known)
    assert not speed.in_time(of_a_kind)


def test_what_is_known_is_of_one_shape_whatever_the_ids(speed: Speed, quick_reader: LoopReader) -> None:
    for start in range(3):
        assert speed.late(lambda reader, start=start: reader.known(IDS[start : start + 60]))  # type: ignore[misc]
    assert quick_reader.known(IDS[:2]) is None
    assert quick_reader.known(IDS[:1]) is None


def test_no_more_shapes_are_remembered_than_a_thousand(
    speed: Speed, quick_reader: LoopReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are forgotten then: who was avoided is tried again."""
    assert loop_reader.MOST_SHAPES == 1_000
    monkeypatch.setattr(loop_reader, "MOST_SHAPES", 4)
    for _ in range(3):
        speed.late(of_a_kind)
    kinds = [EVERYTHING, *(Filter(since=since, until=2**40, limit=5_000) for since in (None, 1))]
    requests = [each for count in (1, 2, 3, 4) for each in combinations_with_replacement(kinds, count)]
    for filters in requests:
        assert speed.late(lambda reader, filters=filters: reader.query(filters))  # type: ignore[misc]
        assert len(quick_reader._late) <= 4
        assert sum(map(getsizeof, quick_reader._late)) < 400  # the text of a REQ may have a megabyte
    assert speed.in_time(of_a_kind)


def test_an_answer_longer_than_a_page_is_none_and_a_strike(
    quick_connection: apsw.Connection, quick_reader: LoopReader, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried for nothing: what it has found is thrown away, and a thread has to begin anew."""
    monkeypatch.setattr(fetch, "PAGE_BYTES", 10_000)
    fetch.limit_answers(quick_connection)
    looks = []
    for limit in (500, 500, 20, 500, 500, 500, 500, 20):
        before = clock.looks
        found = quick_reader.query([Filter(limit=limit)])
        looks.append(clock.looks - before)
        assert len(found or []) == (20 if limit == 20 and looks[-1] > 1 else 0)
    assert [look > 1 for look in looks] == [True] * 6 + [False] * 2
    clock.now += 1.0
    assert len(quick_reader.query([Filter(limit=20)]) or []) == 20


def test_late_and_too_long_are_strikes_alike(
    quick_connection: apsw.Connection, speed: Speed, quick_reader: LoopReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [speed.late(all_events) for _ in range(2)] == [True] * 2
    monkeypatch.setattr(fetch, "PAGE_BYTES", 10_000)
    fetch.limit_answers(quick_connection)
    assert quick_reader.query([EVERYTHING]) is None
    assert not speed.in_time(all_events)
    assert speed.in_time(known)


def test_an_event_longer_than_a_page_is_none(file: Path, quick_reader: LoopReader) -> None:
    event = ALICE.event("x" * fetch.PAGE_BYTES)
    writer = apsw.Connection(str(file))
    BatchWriter(writer).save([event])
    writer.close()
    assert quick_reader.query([Filter(ids=frozenset([event.id]), limit=1)]) is None
    assert quick_reader.known([event.id]) == {event.id}


def test_a_failure_is_none_and_no_strike(file: Path, speed: Speed, quick_reader: LoopReader) -> None:
    other = apsw.Connection(str(file))
    other.execute("ALTER TABLE event RENAME TO elsewhere")
    for _ in range(5):
        assert quick_reader.query([EVERYTHING]) is None
        assert quick_reader.known(SOME_IDS) is None
    other.execute("ALTER TABLE elsewhere RENAME TO event")
    other.close()
    assert speed.in_time(all_events)
    assert speed.in_time(known)


@pytest.mark.parametrize("shares", [False, True])
def test_a_closed_connection_gives_none(
    quick_connection: apsw.Connection, quick_reader: LoopReader, shares: bool
) -> None:
    if shares:
        quick_reader.share_snapshot()
    quick_connection.close()
    assert quick_reader.query([SMALL]) is None
    assert quick_reader.known(IDS[:1]) is None
