"""Places with shares, against plain sums over a list of who took what."""

from __future__ import annotations

import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.support.scoreboards import boards, replaced
from trio_relay.shares import Lack, Shares

HOLDERS = st.sampled_from(["a", "b", "c", None])
STEPS = st.lists(st.tuples(HOLDERS, st.integers(1, 5), st.booleans()), max_size=40)


@given(most=st.integers(0, 12), most_of_one=st.integers(0, 6), steps=STEPS)
def test_shares_say_what_sums_say(most: int, most_of_one: int, steps: list[tuple[str | None, int, bool]]) -> None:
    shares: Shares[str] = Shares(most, most_of_one)
    taken: list[tuple[str | None, int]] = []
    for holder, size, gives in steps:
        if gives and taken:
            shares.give_back(*taken.pop(0))
        of_one = sum(n for who, n in taken if who == holder)
        expected = None
        if most_of_one and holder is not None and of_one + size > most_of_one:
            expected = Lack.ONE
        elif sum(n for _, n in taken) + size > most:
            expected = Lack.ALL
        assert shares.lack(holder, size) is expected
        if expected is None:
            shares.take(holder, size)
            taken.append((holder, size))
        assert shares.held == sum(n for _, n in taken)
        sums = {who: sum(n for other, n in taken if other == who) for who, _ in taken if who is not None}
        assert all(shares.held_by(who) == n for who, n in sums.items())
        greediest = shares.greediest()
        assert (greediest is None) if not sums else sums[greediest or ""] == max(sums.values())


def test_nothing_is_kept_of_who_holds_nothing() -> None:
    shares: Shares[int] = Shares(10, 2)
    for holder in range(100):
        shares.take(holder, 2)
        shares.give_back(holder, 2)
    assert shares.held == 0
    assert shares.greediest() is None


def test_who_has_no_share_is_bounded_by_all_places_only() -> None:
    shares: Shares[str] = Shares(3, 1)
    shares.take(None, 2)
    assert shares.lack(None) is None
    assert shares.lack("a", 2) is Lack.ONE
    shares.take("a")
    assert shares.lack(None) is Lack.ALL


WORKERS = 3
MOVES = st.lists(
    st.tuples(st.integers(0, WORKERS - 1), HOLDERS, st.sampled_from(["take", "leave", "die"])), max_size=60
)


@given(most=st.integers(0, 12), most_of_one=st.integers(0, 6), moves=MOVES)
def test_bounds_hold_over_all_workers(most: int, most_of_one: int, moves: list[tuple[int, str | None, str]]) -> None:
    """As if one process had all holders: so many in all and of one, whoever has come where, and whoever has died."""
    with boards(WORKERS) as (keeper, opened):
        all_shares: list[Shares[str]] = [Shares(most, most_of_one, board.connections) for board in opened]
        taken: list[Counter[str | None]] = [Counter() for _ in opened]
        for worker, holder, move in moves:
            shares, own = all_shares[worker], taken[worker]
            if move == "die":
                replaced(keeper, opened, worker)
                all_shares[worker], taken[worker] = Shares(most, most_of_one, opened[worker].connections), Counter()
            elif move == "leave" and own[holder]:
                shares.give_back(holder)
                own[holder] -= 1
            elif move == "take":
                sums = sum(taken, Counter[str | None]())
                expected = Lack.ALL if sums.total() >= most else None
                if holder is not None and most_of_one and sums[holder] >= most_of_one:
                    expected = Lack.ONE
                assert shares.lack(holder) is expected
                if expected is None:
                    shares.take(holder)
                    own[holder] += 1
            sums = sum(taken, Counter[str | None]())
            for each, of_it in zip(all_shares, taken, strict=True):
                assert (each.held, each.held_everywhere()) == (of_it.total(), sums.total())
                for one in ("a", "b", "c"):
                    assert (each.held_by(one), each.held_everywhere_by(one)) == (of_it[one], sums[one])


def test_who_is_alone_makes_no_calls_for_others() -> None:
    calls: Counter[str] = Counter()
    shares: Shares[str] = Shares(10, 5)
    sys.setprofile(lambda frame, event, _argument: calls.update([frame.f_code.co_name] if event == "call" else []))
    try:
        shares.lack("a")
        shares.take("a")
        shares.give_back("a")
    finally:
        sys.setprofile(None)
    assert calls.keys() <= {"lack", "take", "give_back", "<lambda>"}
