"""Who makes room where all places are taken."""

from __future__ import annotations

import math

import pytest

from tests.support.scoreboards import boards
from trio_relay.places import Places
from trio_relay.shares import Elsewhere, Lack


class Table:
    """Places for names, whose idle times tests set; None: not idle."""

    def __init__(
        self,
        most: int = 4,
        most_of_one: int = 0,
        least_idle: float = 0.0,
        crowd: float = math.inf,
        elsewhere: Elsewhere[str] | None = None,
    ) -> None:
        self.idle: dict[str, float | None] = {}
        self.asked = 0
        self.places: Places[str] = Places(most, most_of_one, self._idle_since, least_idle, crowd, elsewhere)

    def _idle_since(self, name: str) -> float | None:
        self.asked += 1
        return self.idle[name]

    def take(self, origin: str | None, *times: float | None) -> None:
        """Give places to guests of an origin, who are named after it and numbered."""
        for number, since in enumerate(times):
            self.idle[f"{origin} {number}"] = since
            self.places.take(f"{origin} {number}", origin)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        pytest.param({"a": [3.0], "b": [1.0], "c": [2.0]}, "b 0", id="the longest idle"),
        pytest.param({"a": [3.0, 4.0], "b": [1.0], "c": [2.0]}, "a 0", id="of the origin that holds most"),
        pytest.param({"a": [None, None], "b": [2.0], "c": [1.0]}, "c 0", id="but only one that is idle"),
        pytest.param({"a": [None, 9.0], "b": [2.0], "c": [1.0]}, "a 1", id="what is not idle counts for its origin"),
        pytest.param({None: [3.0, 2.0, 4.0], "c": [5.0]}, "None 1", id="who counts under none counts for itself"),
        pytest.param({None: [1.0, 2.0], "c": [5.0, 6.0]}, "c 0", id="and so holds less than who has two"),
        pytest.param({"a": [None], "b": [None]}, None, id="nobody is idle"),
    ],
)
def test_who_makes_room(held: dict[str | None, list[float | None]], expected: str | None) -> None:
    table = Table(sum(map(len, held.values())))
    for origin, times in held.items():
        table.take(origin, *times)
    assert table.places.lack("new") is Lack.ALL
    assert table.places.put_out("new", 10.0) == expected
    assert table.places.lack("new") is (Lack.ALL if expected is None else None)


def test_an_origin_that_has_all_it_may_have_makes_room_for_its_own() -> None:
    table = Table(10, 2)
    table.take("a", 5.0, 0.0)
    table.take("b", -1.0)
    assert table.places.lack("a") is Lack.ONE
    assert table.places.put_out("a", 10.0) == "a 1"


def test_nobody_else_makes_room_for_it_where_all_places_are_taken() -> None:
    table = Table(4, 2)
    table.take("a", None, None)
    table.take("b", 0.0, 1.0)
    assert table.places.lack("a") is Lack.ONE
    assert table.places.put_out("a", 10.0) is None
    assert table.places.put_out("c", 10.0) == "b 0"


def test_who_was_idle_for_less_than_asked_for_keeps_its_place() -> None:
    table = Table(2, least_idle=60.0)
    table.take("a", 0.0)
    table.take("b", 1.0)
    assert table.places.put_out("new", 59.9) is None
    assert table.places.put_out("new", 60.0) == "a 0"


def test_a_crowd_is_not_spared() -> None:
    table = Table(4, least_idle=60.0, crowd=3)
    table.take("a", 1.0, 0.5, 2.0)
    table.take("b", 0.0)
    assert table.places.put_out("new", 3.0) == "a 1"
    table.places.take("a 1", "b")
    assert table.places.put_out("new", 3.0) is None


def test_an_origin_with_more_than_so_many_makes_room_for_another_whatever_it_does() -> None:
    table = Table(5)
    table.take("a", None, None, None)
    table.take("b", 0.0, 0.0)
    heard = {"a 0": 3.0, "a 1": 2.0, "a 2": None}
    assert table.places.put_out_of_crowd("b", 3, heard.get) is None
    assert table.places.put_out_of_crowd("a", 2, heard.get) is None
    assert table.places.put_out_of_crowd("b", 2, heard.get) == "a 1"
    assert table.places.held == 4


def test_who_makes_room_has_no_place_to_give_back() -> None:
    table = Table(1)
    table.take("a", 0.0)
    assert table.places.put_out("b", 1.0) == "a 0"
    table.places.give_back("a 0")
    assert table.places.held == 0


def test_many_who_come_cost_few_looks_at_everybody() -> None:
    """Of a thousand that are idle a hundred make room, and none is looked at for each."""
    table = Table(1_000, least_idle=60.0)
    for number in range(500):
        table.take(f"origin {number}", float(number % 7), float(number % 5))
    gone = []
    for number in range(100):
        gone.append(table.places.put_out("new", 100.0))
        table.idle[f"new {number}"] = 100.0
        table.places.take(f"new {number}", "new")
    assert len(set(gone)) == 100
    assert table.asked < 5 * 1_000


def test_many_who_come_in_vain_cost_no_looks_at_all() -> None:
    table = Table(1_000, least_idle=60.0)
    table.take("a", *[50.0] * 999, None)
    assert [table.places.put_out("new", 50.0 + number / 10) for number in range(599)] == [None] * 599
    assert table.asked < 3 * 1_000
    assert table.places.put_out("new", 110.0) == "a 0"


def test_who_is_idle_no_more_when_its_turn_comes_keeps_its_place() -> None:
    table = Table(64)
    table.take("a", *map(float, range(64)))
    assert table.places.put_out("new", 100.0) == "a 0"
    table.idle["a 1"] = 99.0
    table.idle["new"] = 100.0
    table.places.take("new", "new")
    assert table.places.put_out("new", 100.0) == "a 2"


def test_nothing_is_kept_of_who_has_left() -> None:
    table = Table(64)
    table.take("a", *map(float, range(64)))
    table.places.put_out("new", 100.0)
    table.places.give_back("a 1")
    table.places.take("other", "b")
    table.idle["other"] = 1.0
    assert table.places.put_out("new", 100.0) == "a 2"


def test_where_all_places_are_taken_elsewhere_one_makes_room_that_is_here() -> None:
    with boards(2) as (_, (one, two)):
        here, there = Table(4, elsewhere=one.connections), Table(4, elsewhere=two.connections)
        there.take("a", 0.0, 1.0, 2.0)
        here.take("b", 3.0)
        assert (here.places.held, here.places.lack("new")) == (1, Lack.ALL)
        assert here.places.put_out("new", 10.0) == "b 0"
        assert (here.places.lack("new"), there.places.lack("new")) == (None, None)
        there.take("c", 5.0)
        assert here.places.lack("new") is Lack.ALL
        assert here.places.put_out("new", 10.0) is None


def test_an_origin_that_has_all_it_may_have_makes_room_for_its_own_where_it_has_any() -> None:
    with boards(2) as (_, (one, two)):
        here, there = Table(10, 2, elsewhere=one.connections), Table(10, 2, elsewhere=two.connections)
        there.take("a", 0.0)
        here.take("b", 0.0)
        assert here.places.lack("a") is None
        here.take("a", 5.0)
        assert (here.places.lack("a"), there.places.lack("a")) == (Lack.ONE, Lack.ONE)
        assert here.places.put_out("a", 10.0) == "a 0"
        there.take("a", 1.0)
        assert here.places.lack("a") is Lack.ONE
        assert here.places.put_out("a", 10.0) is None


def test_who_is_a_crowd_over_all_workers_is_not_spared_on_any() -> None:
    with boards(2) as (_, (one, two)):
        here, there = (Table(4, least_idle=60.0, crowd=3, elsewhere=side.connections) for side in (one, two))
        there.take("a", 0.0, 0.5)
        here.take("a", 1.0)
        here.take("b", 0.0)
        assert there.places.put_out("new", 3.0) == "a 0"
        there.take("c", 3.0)
        assert here.places.put_out("new", 3.0) is None
        there.take("a", 3.0)
        assert here.places.put_out("new", 3.0) == "a 0"


def test_what_an_origin_has_elsewhere_counts_for_whether_it_has_too_many() -> None:
    with boards(2) as (_, (one, two)):
        here, there = Table(8, elsewhere=one.connections), Table(8, elsewhere=two.connections)
        there.take("a", None, None)
        here.take("b", None)
        here.take("a", None, None)
        assert here.places.put_out_of_crowd("b", 4, {"a 0": 1.0, "a 1": 2.0}.get) is None
        assert here.places.put_out_of_crowd("b", 3, {"a 0": 1.0, "a 1": 2.0}.get) == "a 0"
        assert here.places.put_out_of_crowd("b", 3, {"a 1": 2.0}.get) is None
