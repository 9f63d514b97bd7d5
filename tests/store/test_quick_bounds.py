"""What the loop does not even begin, how often it looks at the clock, and how it keeps away from a slow disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw
import pytest

from tests.store.quickness import (
    EVENTS,
    EVERYTHING,
    IDS,
    KIND,
    SMALL,
    SOME_IDS,
    Clock,
    Speed,
    all_events,
    known,
    lone_known,
    of_a_kind,
)
from trio_relay import Filter
from trio_relay.nostr.event import encode
from trio_relay.store.sqlite.loop_reader import LoopReader

STEPS_PER_LOOK: Final = 200
PUBKEYS: Final = [f"{number:064x}" for number in range(501)]
WORDS: Final = [str(number) for number in range(501)]


def kinds(count: int) -> frozenset[int]:
    return frozenset(range(count))


def split(count: int) -> list[Filter]:
    """So many values, some in every list of two filters."""
    return [
        Filter(ids=frozenset(IDS[:100]), authors=frozenset(PUBKEYS[:100]), kinds=kinds(100), limit=9),
        Filter(tags=(("t", frozenset(WORDS[:100])), ("e", frozenset(WORDS[: count - 400]))), limit=9),
    ]


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Filter]:
    """Each filter for which something is planned: whoever plans asks it whether it wants anything."""
    asked = []

    def noted(filter_: Filter) -> bool:
        asked.append(filter_)
        return filter_.limit != 0 and not filter_.is_hopeless

    monkeypatch.setattr(Filter, "wants_stored", property(noted))
    return asked


@pytest.mark.parametrize(
    "request_of",
    [
        lambda count: [Filter(ids=frozenset(IDS[:1] + PUBKEYS[: count - 1]), limit=9)],
        lambda count: [Filter(authors=frozenset(PUBKEYS[:count]), limit=9)],
        lambda count: [Filter(kinds=kinds(count), limit=9)],
        lambda count: [Filter(tags=(("t", frozenset(WORDS[:count])),), limit=9)],
        split,
    ],
    ids=["ids", "authors", "kinds", "tags", "all"],
)
def test_for_more_than_500_values_nothing_is_even_planned(
    quick_reader: LoopReader, clock: Clock, planned: list[Filter], request_of: Callable[[int], list[Filter]]
) -> None:
    most, more = request_of(500), request_of(501)
    assert quick_reader.query(most) is not None
    assert planned
    planned.clear()
    looks = clock.looks
    assert quick_reader.query(more) is None
    assert not planned
    assert clock.looks == looks


def test_for_more_than_four_filters_nothing_is_even_planned(
    quick_reader: LoopReader, clock: Clock, planned: list[Filter]
) -> None:
    """Also where they are the same, or can find nothing."""
    assert len(quick_reader.query([EVERYTHING] * 4) or []) == 500
    assert quick_reader.query([Filter(limit=0)] * 4) == []
    assert planned
    planned.clear()
    looks = clock.looks
    assert quick_reader.query([EVERYTHING] * 5) is None
    assert quick_reader.query([Filter(limit=0)] * 5) is None
    assert not planned
    assert clock.looks == looks


def test_no_more_than_64_ids_are_looked_up(quick_reader: LoopReader, clock: Clock) -> None:
    assert quick_reader.known(IDS[:64]) == set(IDS[:64])
    looks = clock.looks
    assert quick_reader.known(IDS[:65]) is None
    assert quick_reader.known(IDS[:1] * 65) is None
    assert clock.looks == looks


def test_what_is_not_begun_is_no_strike(quick_reader: LoopReader, speed: Speed) -> None:
    for _ in range(5):
        assert quick_reader.query([EVERYTHING] * 5) is None
        assert quick_reader.known(IDS) is None
    assert speed.in_time(all_events)
    assert speed.in_time(known)


@pytest.mark.parametrize("search", [all_events, of_a_kind, known])
def test_the_time_is_looked_at_every_200_steps(
    file: Path, quick_connection: apsw.Connection, clock: Clock, search: Callable[[LoopReader], object]
) -> None:
    """Before and after it too."""
    before = clock.looks
    search(LoopReader(quick_connection, clock))
    looks = clock.looks - before - 2
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    counting = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    counting.execute("SELECT 1 FROM event").fetchall()  # to read which tables there are takes steps too
    reader = LoopReader(counting, clock)
    counting.set_progress_handler(count, 1)
    search(reader)
    counting.close()
    assert steps > 5 * STEPS_PER_LOOK
    assert abs(looks - steps / STEPS_PER_LOOK) <= 1


def slowly(quick_reader: LoopReader, clock: Clock, per_look: float) -> object:
    """Make a search so small that nobody looks at the time within, and that takes this long."""
    clock.per_look = per_look
    found = quick_reader.query([SMALL])
    clock.per_look = 0.0
    return found


def test_after_a_search_of_more_than_10_ms_all_others_are_avoided_for_a_second_from_its_end(
    quick_reader: LoopReader, clock: Clock, speed: Speed
) -> None:
    """What it has found is good nevertheless."""
    assert slowly(quick_reader, clock, 0.011) == [encode(EVENTS[0])]
    for _ in range(2):
        for search in (all_events, of_a_kind, known, lone_known):
            assert not speed.in_time(search)
        clock.now += 0.49
    clock.now += 0.01
    assert not speed.in_time(lone_known)
    clock.now += 0.02
    for search in (all_events, of_a_kind, known, lone_known):
        assert speed.in_time(search)


def test_who_has_read_nothing_has_lost_its_core_and_keeps_nobody_away(
    quick_connection: apsw.Connection, clock: Clock
) -> None:
    blocks = [7]
    reader = LoopReader(quick_connection, clock, None, lambda: blocks[0])
    speed = Speed(reader, clock)
    assert slowly(reader, clock, 0.049) == [encode(EVENTS[0])]
    assert speed.in_time(lone_known)
    blocks[0] += 1
    slowly(reader, clock, 0.011)
    assert not speed.in_time(lone_known)
    clock.now += 1.02
    slowly(reader, clock, 0.011)  # those blocks have been counted
    assert speed.in_time(lone_known)


def test_after_a_search_of_more_than_50_ms_others_are_avoided_though_nothing_was_read(
    quick_connection: apsw.Connection, clock: Clock
) -> None:
    reader = LoopReader(quick_connection, clock, None, lambda: 7)
    slowly(reader, clock, 0.051)
    assert not Speed(reader, clock).in_time(lone_known)


def test_what_is_avoided_meanwhile_does_not_make_it_longer(
    quick_reader: LoopReader, clock: Clock, speed: Speed
) -> None:
    slowly(quick_reader, clock, 0.011)
    for _ in range(9):
        clock.now += 0.1
        assert slowly(quick_reader, clock, 0.011) is None
    clock.now += 0.1
    assert speed.in_time(all_events)


def test_a_search_of_less_than_10_ms_keeps_nobody_away(quick_reader: LoopReader, clock: Clock, speed: Speed) -> None:
    for _ in range(10):
        assert slowly(quick_reader, clock, 0.009) == [encode(EVENTS[0])]
        assert speed.in_time(all_events)
        assert speed.in_time(known)


def test_a_search_that_is_late_by_far_keeps_all_others_away_and_is_one_strike(
    quick_reader: LoopReader, clock: Clock, speed: Speed
) -> None:
    for _ in range(2):
        clock.per_look = 0.02
        assert quick_reader.query([KIND]) is None
        clock.per_look = 0.0
        assert not speed.in_time(lone_known)
        clock.now += 1.0
    assert speed.in_time(of_a_kind)


def test_a_failure_that_took_long_keeps_others_away_too(
    file: Path, quick_reader: LoopReader, clock: Clock, speed: Speed
) -> None:
    other = apsw.Connection(str(file))
    other.execute("ALTER TABLE event RENAME TO elsewhere")
    clock.per_look = 0.02
    assert quick_reader.known(SOME_IDS) is None
    clock.per_look = 0.0
    other.execute("ALTER TABLE elsewhere RENAME TO event")
    other.close()
    assert not speed.in_time(all_events)
    clock.now += 1.0
    assert speed.in_time(all_events)


def test_what_can_find_nothing_is_answered_while_the_disk_is_slow(quick_reader: LoopReader, clock: Clock) -> None:
    slowly(quick_reader, clock, 0.011)
    assert quick_reader.query([Filter(limit=0)]) == []


def test_a_slow_disk_leaves_the_shared_snapshot_to_be_dropped(
    quick_connection: apsw.Connection, quick_reader: LoopReader, clock: Clock
) -> None:
    quick_reader.share_snapshot()
    slowly(quick_reader, clock, 0.011)
    assert quick_connection.in_transaction
    quick_reader.share_snapshot()
    assert quick_reader.query([SMALL]) is None
    assert not quick_connection.in_transaction
