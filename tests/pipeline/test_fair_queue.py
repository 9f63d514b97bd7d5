"""Whose step comes next: light before heavy, shares by holder, places kept, and steps that yield, against a twin."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.pipeline import uses as uses_module
from trio_relay.pipeline.fair_queue import HALF_LIFE, HEAVY_SECONDS, LONG_QUANTUM, QUANTUM, FairQueue, QueryStep

LEAST = 0.001
"""What a step costs at least."""


def step(*holders: str, may_yield: bool = True, lost: float = 0.0) -> QueryStep:
    return QueryStep(frozenset(holders), may_yield=may_yield, lost=lost)


class Queue:
    """A queue whose clock stands where the test has put it."""

    def __init__(self, places: int) -> None:
        self.fair: FairQueue[QueryStep] = FairQueue(places)
        self.now = 1e6

    def come(self, *steps: QueryStep) -> None:
        """These come, and go to work as far as there are places."""
        for one in steps:
            if not self.fair.start_at_once(one, self.now):
                self.fair.add(one, self.now)
        self.go_on()

    def go_on(self) -> list[QueryStep]:
        """Who goes to work now."""
        started = list(iter(lambda: self.fair.start_next(self.now), None))
        self.fair.press(self.now)
        return started

    def work(self, one: QueryStep, seconds: float) -> list[QueryStep]:
        """This one is at work for so long and done then; who goes to work after it."""
        self.now += seconds
        self.fair.finish(one, self.now)
        return self.go_on()


def made_heavy(places: int, *holders: str) -> Queue:
    queue = Queue(places)
    queue.fair.charge(frozenset(holders), 10 * HEAVY_SECONDS, queue.now)
    return queue


@pytest.mark.parametrize(
    ("places", "cores", "most"), [(4, 2, 1), (4, 1, 1), (4, 3, 2), (4, 64, 3), (4, None, 3), (1, 2, 1)]
)
def test_heavy_steps_leave_a_core_to_the_loop(places: int, cores: int | None, most: int) -> None:
    queue = Queue(places)
    queue.fair = FairQueue(places, cores)
    queue.fair.charge(frozenset("abcdefgh"), 10 * HEAVY_SECONDS, queue.now)
    heavy, light = [step(holder) for holder in "abcdefgh"], [step(holder) for holder in "xyz"]
    queue.come(*heavy)
    assert sum(one.is_running for one in heavy) == most
    queue.come(*light)
    assert sum(one.is_running for one in light) == min(3, places - most)


def test_steps_of_equals_come_as_they_came() -> None:
    queue = Queue(1)
    steps = [step(holder) for holder in "abc"]
    queue.come(*steps)
    assert steps[0].is_running
    assert queue.work(steps[0], 1) == [steps[1]]
    assert queue.work(steps[1], 1) == [steps[2]]


def test_who_has_used_less_comes_first_however_many_it_has_waiting() -> None:
    queue = Queue(1)
    first, *others = [step("a") for _ in range(4)]
    late = step("b")
    queue.come(first, *others, late)
    assert queue.work(first, 1) == [late]
    assert queue.work(late, 0.5) == [others[0]]


def test_what_was_used_fades() -> None:
    queue = Queue(1)
    queue.fair.charge(frozenset("a"), 4, queue.now)
    queue.now += 3 * HALF_LIFE
    queue.fair.charge(frozenset("b"), 1, queue.now)
    running, of_b, of_a = step("c"), step("b"), step("a")
    queue.come(running, of_b, of_a)
    assert queue.work(running, 0) == [of_a]  # half a second is left of four


def test_the_key_that_has_used_most_counts_from_whatever_address() -> None:
    queue = made_heavy(1, "key")
    running, of_key, stranger = step("first"), step("new address", "key"), step("another")
    queue.come(running, of_key, stranger)
    assert queue.work(running, 1) == [stranger]


@pytest.mark.parametrize(("places", "of_one"), [(1, 1), (2, 1), (4, 2), (5, 2), (32, 16)])
def test_one_holder_has_half_of_the_places(places: int, of_one: int) -> None:
    queue = Queue(places)
    for _ in range(places + 3):
        queue.come(step("a"))
    assert queue.fair.running == of_one
    queue.come(*(step("b") for _ in range(places + 3)))
    assert queue.fair.running == min(places, 2 * of_one)


def test_what_is_charged_to_nobody_has_all_places() -> None:
    queue = Queue(4)
    queue.come(*(step() for _ in range(5)))
    assert queue.fair.running == 4


@pytest.mark.parametrize(("places", "most"), [(1, 1), (2, 1), (4, 3), (8, 6), (32, 24)])
def test_places_are_kept_for_the_light(places: int, most: int) -> None:
    heavy = [f"heavy {number}" for number in range(places)]
    queue = made_heavy(places, *heavy)
    queue.come(*(step(holder) for holder in heavy))
    assert queue.fair.running == most
    queue.come(step("light"))
    assert queue.fair.running == min(places, most + 1)


def test_newcomers_that_last_yield_to_others_but_not_all_of_them() -> None:
    queue = Queue(4)
    long = [step(f"new {number}") for number in range(4)]
    queue.come(*long)
    queue.now += 1
    assert queue.fair.press(queue.now) == []  # nobody waits
    queue.fair.add(light := step("light"), queue.now)
    assert queue.go_on() == []
    assert [one.yields_at for one in long] == [math.inf, math.inf, math.inf, long[3].began + QUANTUM]
    assert queue.work(long[3], 0) == [light]
    assert light.yields_at == math.inf  # nobody waits


def test_one_that_had_to_yield_may_take_longer_the_next_time_and_then_is_long() -> None:
    queue = Queue(4)
    queue.come(*(step(f"new {number}") for number in range(3)), again := step("again", lost=QUANTUM))
    queue.come(light := step("light"))
    assert again.yields_at == queue.now + LONG_QUANTUM
    assert queue.work(again, LONG_QUANTUM) == [light]
    queue.come(long := step("again", lost=LONG_QUANTUM), later := step("light"))
    assert queue.work(light, 0) == [later]  # all places that long ones may have are taken
    assert not long.is_running


def test_a_long_step_of_a_light_holder_does_not_keep_others_waiting() -> None:
    queue = made_heavy(4, "a", "b")
    queue.come(step("a"), step("b"), of_c := step("c"), of_d := step("d"))
    queue.come(step("e", lost=1))
    assert (of_c.is_heavy, of_d.yields_at) == (True, math.inf)  # it can have no place: nobody yields to it
    queue.come(step("light"))
    assert of_d.yields_at == queue.now + QUANTUM


def test_a_light_step_does_not_wait_behind_a_long_one_of_its_own_holder() -> None:
    queue = made_heavy(2, "heavy")
    queue.come(step("heavy"))
    queue.come(long := step("a", lost=1), light := step("a"))
    assert (long.is_running, light.is_running) == (False, True)


def test_steps_that_cannot_begin_anew_are_not_asked_to_yield() -> None:
    queue = Queue(2)
    queue.come(page := step("a", may_yield=False), count := step("b"))
    queue.come(step("light"))
    assert (page.yields_at, count.yields_at) == (math.inf, queue.now + QUANTUM)


def test_nobody_yields_to_the_heavy_nor_to_those_that_have_their_share() -> None:
    queue = made_heavy(2, "heavy")
    queue.come(step("a"), of_b := step("b"))
    queue.come(step("heavy"), step("a"), step("b"))
    assert of_b.yields_at == math.inf
    queue.come(step("light"))
    assert of_b.yields_at == queue.now + QUANTUM


def test_once_nobody_waits_nobody_has_to_yield() -> None:
    queue = Queue(2)
    queue.come(step("a"), of_b := step("b"), light := step("light"))
    assert of_b.yields_at < math.inf
    queue.fair.withdraw(light)
    assert queue.fair.press(queue.now) == [of_b]
    assert of_b.yields_at == math.inf


def test_who_leaves_the_line_leave_nothing_behind() -> None:
    queue = Queue(1)
    queue.come(running := step("a"))
    for number in range(10_000):
        queue.fair.add(one := step("heavy" if number % 2 else f"{number}"), queue.now)
        queue.fair.withdraw(one)
    assert queue.fair.waiting == 0
    assert queue.fair.lines <= 100
    assert queue.work(running, 1) == []


def test_a_line_that_was_left_does_not_keep_its_place() -> None:
    queue = Queue(1)
    queue.come(running := step("a"), gone := step("b"), other := step("c"))
    queue.fair.withdraw(gone)
    queue.fair.add(step("b"), queue.now)
    assert queue.work(running, 1) == [other]


def test_many_holders_are_remembered_and_no_more() -> None:
    uses = uses_module.Uses(60, 1, most_holders=10)
    uses.charge(uses.of(["greedy"]), 100, 0)
    for number in range(1_000):
        uses.charge(uses.of([f"{number}"]), 1, 0)
    assert len(uses) <= 11
    (greedy,) = uses.of(["greedy"])
    assert uses.seconds(greedy, 0) == 100


def test_scores_stay_numbers_and_keep_their_order_for_years() -> None:
    queue = Queue(1)
    for _ in range(50):
        queue.fair.charge(frozenset("a"), 2, queue.now)
        queue.fair.charge(frozenset("b"), 1, queue.now)
        queue.come(running := step("c"), of_a := step("a"), of_b := step("b"))
        assert queue.work(running, 0) == [of_b]
        assert queue.work(of_b, 0) == [of_a]
        queue.work(of_a, 0)
        queue.now += 10_000 * HALF_LIFE


class Twin:
    """The same rules over plain lists: what each holder has used is summed up anew each time."""

    def __init__(self, places: int) -> None:
        self.places, self.costs = places, list[tuple[frozenset[str], float, float]]()
        self.waiting, self.running = list[QueryStep](), list[QueryStep]()

    def used(self, one: QueryStep, now: float) -> float:
        """What the holder of a step that has used most has used."""
        return max(
            sum(cost * 2 ** ((at - now) / HALF_LIFE) for holders, cost, at in self.costs if holder in holders)
            for holder in one.line[0]
        )

    def may_start(self, one: QueryStep) -> bool:
        """True unless a holder has its share."""
        most = max(1, self.places // 2)
        return all(sum(holder in other.line[0] for other in self.running) < most for holder in one.line[0])


def actions() -> st.SearchStrategy[tuple[str, int, float]]:
    kinds = st.sampled_from(["come", "come", "finish", "withdraw", "wait"])
    return st.tuples(kinds, st.integers(0, 30), st.sampled_from([0.0, 0.002, 0.02, 0.2, 2.0, 20.0]))


HOLDERS = [frozenset({f"address {n % 5}", *({f"key {n % 3}"} if n % 2 else set())}) for n in range(15)]


@given(places=st.integers(1, 6), steps=st.lists(actions(), max_size=80))
def test_who_goes_to_work_is_who_plain_sums_say(places: int, steps: list[tuple[str, int, float]]) -> None:
    queue, twin = Queue(places), Twin(places)

    def started(one: QueryStep) -> None:
        assert twin.may_start(one)
        before = [other for other in twin.waiting if twin.may_start(other) and not other.line[1]]
        used = twin.used(one, queue.now)
        assert all(twin.used(other, queue.now) >= used * (1 - 1e-9) for other in before)
        twin.waiting.remove(one)
        twin.running.append(one)
        twin.costs.append((one.line[0], LEAST, queue.now))  # type: ignore[arg-type]  # all of ours are text

    def go_on() -> None:
        while (one := queue.fair.start_next(queue.now)) is not None:
            started(one)
        queue.fair.press(queue.now)
        check()

    def is_light(one: QueryStep) -> bool:
        return twin.may_start(one) and not one.line[1] and twin.used(one, queue.now) < HEAVY_SECONDS * 0.999

    def check() -> None:
        assert len(twin.running) == queue.fair.running <= places
        assert len(twin.waiting) == queue.fair.waiting
        heavy = sum(one.is_heavy for one in twin.running)
        assert heavy <= queue.fair.most_heavy
        if queue.fair.running < places:  # then all that wait are heavy, or have their share
            for one in filter(twin.may_start, twin.waiting):
                assert heavy == queue.fair.most_heavy
                assert one.line[1] or twin.used(one, queue.now) >= HEAVY_SECONDS * (1 - 1e-9)
        elif any(is_light(one) for one in twin.waiting):
            assert heavy == queue.fair.most_heavy
            assert all(one.yields_at < math.inf for one in twin.running if not one.is_heavy and one.may_yield)

    def finish(one: QueryStep) -> None:
        twin.running.remove(one)
        queue.fair.finish(one, queue.now)
        cost = max(0.0, queue.now - one.began - LEAST)
        twin.costs.append((one.line[0], cost, queue.now))  # type: ignore[arg-type]  # all of ours are text

    for kind, number, seconds in steps:
        queue.now += seconds
        if kind == "come":
            one = step(*HOLDERS[number % len(HOLDERS)], may_yield=number % 4 > 0, lost=0.5 * (number % 5 == 0))
            twin.waiting.append(one)
            if queue.fair.start_at_once(one, queue.now):
                started(one)
            else:
                queue.fair.add(one, queue.now)
        elif kind == "finish" and twin.running:
            finish(twin.running[number % len(twin.running)])
        elif kind == "withdraw" and twin.waiting:
            queue.fair.withdraw(twin.waiting.pop(number % len(twin.waiting)))
        go_on()
    for _ in range(len(steps)):  # all that is left comes to its end
        for one in list(twin.running):
            finish(one)
            go_on()
    assert (queue.fair.running, queue.fair.waiting) == (0, 0)


@pytest.mark.parametrize("others", [0, 1, 12, 200])
@pytest.mark.parametrize("has_one_address", [True, False], ids=["one address", "many addresses"])
def test_a_light_one_goes_to_work_at_once_however_many_heavy_ones_wait(others: int, has_one_address: bool) -> None:
    queue = Queue(4)
    holders = ["crowd" if has_one_address else f"of the crowd {number}" for number in range(others)]
    queue.fair.charge(frozenset(holders), 2 * HEAVY_SECONDS, queue.now)
    queue.come(*(step(holder) for holder in holders for _ in range(2)))
    queue.come(light := step("light"))
    assert light.is_running
