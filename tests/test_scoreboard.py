"""The memory that the processes of one relay share, against plain sums over what each of them holds."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.scoreboards import boards, replaced
from trio_relay import scoreboard
from trio_relay.net import server
from trio_relay.pipeline import sync_sets
from trio_relay.scoreboard import SLOTS_A_PLACE, WINDOW, Column, Scoreboard

CONNECTIONS = 10
COLUMNS = ("connections", "visitors", "syncs", "sync_events")


def columns(board: Scoreboard) -> list[Column]:
    return [getattr(board, name) for name in COLUMNS]


class Twin:
    """A worker's places in each column, as plain sums, and the side on which it tells them."""

    def __init__(self, board: Scoreboard) -> None:
        self.board = board
        self.held = [Counter[str | None]() for _ in COLUMNS]

    def change(self, column: int, holder: str | None, by: int) -> None:
        held = self.held[column]
        held[holder] = max(0, held[holder] + by)
        columns(self.board)[column].note(held.total(), holder, held[holder])


HOLDERS = st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::/64", "\ud800", None])
CHANGE = st.tuples(st.integers(0, 2), st.integers(0, 3), HOLDERS, st.integers(-9, 9))
DEATH = st.integers(0, 2)


@given(workers=st.integers(1, 3), steps=st.lists(CHANGE | DEATH, max_size=40))
def test_each_sees_what_the_others_hold(workers: int, steps: list[tuple[int, int, str | None, int] | int]) -> None:
    with boards(workers) as (keeper, opened):
        twins = [Twin(board) for board in opened]
        for step in steps:
            if isinstance(step, int):
                number = step % workers
                replaced(keeper, opened, number)
                twins[number] = Twin(opened[number])
            else:
                number, place, holder, by = step
                twins[number % workers].change(place, holder, by)
        for side in [keeper, *opened]:
            others = [twin for twin in twins if twin.board is not side]
            for place, column in enumerate(columns(side)):
                sums = sum((twin.held[place] for twin in others), Counter())
                assert column.held == sums.total()
                for holder in {"192.0.2.1", "192.0.2.2", "2001:db8::/64", "\ud800", "stranger"}:
                    assert column.held_by(holder) == sums[holder]


@given(seed=st.integers(0, 2**32), origins=st.integers(1, CONNECTIONS))
def test_as_many_origins_as_places_are_told_apart(seed: int, origins: int) -> None:
    with boards(2) as (_, (one, other)):
        for number in range(origins):
            one.connections.note(number + 1, f"{seed} {number}", number + 1)
        assert [other.connections.held_by(f"{seed} {n}") for n in range(origins)] == list(range(1, origins + 1))
        for number in range(origins):
            one.connections.note(0, f"{seed} {number}", 0)
        assert [other.connections.held_by(f"{seed} {n}") for n in range(origins)] == [0] * origins


def test_who_finds_no_slot_is_counted_in_all_and_gets_one_when_another_has_gone() -> None:
    """Which takes a table that is too small: this one is of one place, and has more holders than slots."""
    slots = SLOTS_A_PLACE + WINDOW
    with boards(2, connections=1) as (_, (one, other)):
        for number in range(2 * slots):
            one.connections.note(number + 1, str(number), 1)
        seen = [number for number in range(2 * slots) if other.connections.held_by(str(number))]
        assert WINDOW <= len(seen) <= slots
        assert other.connections.held == 2 * slots
        untold = next(number for number in range(2 * slots) if number not in seen)
        one.connections.note(2 * slots - 1, str(untold), 0)
        for number in seen:
            one.connections.note(0, str(number), 0)
        one.connections.note(2, str(untold), 2)
        assert other.connections.held_by(str(untold)) == 2


def test_a_number_too_large_for_its_slot_is_the_largest() -> None:
    with boards(2) as (_, (one, other)):
        one.sync_events.note(2**40, "a", 2**40)
        assert (other.sync_events.held, other.sync_events.held_by("a")) == (2**40, 2**32 - 1)


def test_who_has_more_clients_than_the_others_on_average_is_ahead() -> None:
    with boards(3) as (keeper, workers):
        assert not any(side.is_ahead() for side in [keeper, *workers])
        workers[0].connections.note(4, None, 0)
        workers[1].connections.note(1, "a", 1)
        workers[1].visitors.note(4, "a", 4)
        assert [side.connections.lead for side in workers] == [3.5, -1, -2.5]
        assert [side.is_ahead() for side in [keeper, *workers]] == [False, True, True, False]
        keeper.clear(0)
        assert [side.is_ahead() for side in workers] == [False, True, False]
    with boards(1) as (_, [alone]):
        alone.connections.note(4, None, 0)
        assert not alone.is_ahead()


def test_the_table_is_as_large_as_what_it_counts() -> None:
    assert scoreboard.MOST_VISITORS >= server.MOST_VISITORS
    assert scoreboard.MOST_SYNCS >= sync_sets.MOST_SESSIONS


def test_the_keeper_counts_commits_and_says_what_readers_have_to_know() -> None:
    with boards(2) as (keeper, workers):
        assert [side.commits() for side in workers] == [0, 0]
        assert {side.earliest_expiry for side in workers} == {math.inf}
        assert not any(side.is_worded for side in workers)
        keeper.commit()
        keeper.commit()
        keeper.earliest_expiry = 1_700_000_000
        keeper.is_worded = True
        assert [side.commits() for side in [keeper, *workers]] == [2, 2, 2]
        assert {side.earliest_expiry for side in workers} == {1_700_000_000}
        assert all(side.is_worded for side in workers)
        keeper.clear(0)
        keeper.clear(1)
        keeper.is_worded = False
        assert [(side.commits(), side.is_worded) for side in workers] == [(2, False)] * 2


@pytest.mark.parametrize(
    ("told", "read"),
    [(math.inf, math.inf), (2.0**64, math.inf), (1e300, math.inf), (-5, 0), (0, 0), (2**63, 2**63), (7.9, 7)],
)
def test_an_expiry_beyond_what_a_word_holds_is_none(told: float, read: float) -> None:
    with Scoreboard.create(1, CONNECTIONS) as keeper:
        keeper.earliest_expiry = told
        assert keeper.earliest_expiry == read


@pytest.mark.parametrize(("worker", "workers"), [(0, 1), (0, 3), (2, 2), (-1, 2)])
def test_another_number_of_workers_is_refused(worker: int, workers: int) -> None:
    with Scoreboard.create(2, CONNECTIONS) as keeper, pytest.raises(ValueError, match="in a scoreboard of 2"):
        Scoreboard.open(keeper.fd, worker, workers)


@pytest.mark.parametrize("size", [8, 4096])
def test_what_is_no_scoreboard_is_refused(size: int) -> None:
    fd = os.memfd_create("other")
    try:
        os.ftruncate(fd, size)
        with pytest.raises(ValueError, match="is of no scoreboard"):
            Scoreboard.open(fd, 0, 1)
    finally:
        os.close(fd)


def test_what_has_no_memory_is_not_left_open() -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match=r"too large|allocate"):
        Scoreboard.create(2**30, 2**40)
    assert os.listdir("/proc/self/fd") == before


def test_a_file_without_a_name_does_where_memory_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with boards(2) as (keeper, (one, other)):
        one.visitors.note(1, "a", 1)
        keeper.commit()
        assert (other.visitors.held_by("a"), other.commits()) == (1, 1)


CHILD = """
import os, sys
from trio_relay.scoreboard import Scoreboard
board = Scoreboard.open(int(sys.argv[1]), 1, 2)
board.connections.note(3, "192.0.2.1", 3)
sys.stdout.write(f"{board.commits()} {board.connections.held_by('192.0.2.2')}\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@pytest.mark.slow
def test_what_a_killed_process_held_is_there_until_the_keeper_clears_it() -> None:
    with boards(2) as (keeper, (one, _)):
        one.connections.note(5, "192.0.2.2", 5)
        keeper.commit()
        fd = keeper.fd
        with subprocess.Popen(
            [sys.executable, "-c", CHILD, str(fd)], pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"1 5\n"
            child.send_signal(signal.SIGKILL)
            assert child.wait(60) == -signal.SIGKILL
        assert (one.connections.held, one.connections.held_by("192.0.2.1")) == (3, 3)
        keeper.clear(1)
        assert (one.connections.held, one.connections.held_by("192.0.2.1")) == (0, 0)
        assert keeper.connections.held_by("192.0.2.2") == 5
