"""The simulation gives what queueing theory says where that has an answer, and the same each time."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from click.testing import CliRunner

from perf.__main__ import main
from perf.scaling.costs import MEASURED
from perf.scaling.fleet import USUAL, Fleet, Mix, capacity, limits
from perf.scaling.machines import divided, shards_of
from perf.scaling.queues import md1_time, mm1_quantile, mm1_time, mmc_time, slowest
from perf.scaling.simulation import Clock, Done, Station, joined, quantile, stream
from perf.scaling.slice import EOSE, LIVE, OK, draw
from perf.scaling.tables import HEAD, drawn, markdown

SERVICE = 0.001
NEAR = 0.06
"""How far the mean of some ten thousand jobs may be from what it tends to; seeded, so it is always the same."""


def times_at(
    load: float, servers: int = 1, *, varied: bool = False, seed: int = 1, seconds: float = 40.0
) -> list[float]:
    """Seconds from arrival to departure at one station."""
    clock, random = Clock(), Random(seed)
    station = Station(clock, servers)
    times: list[float] = []

    def arrive() -> None:
        start = clock.now
        work = random.expovariate(1 / SERVICE) if varied else SERVICE
        station.serve(work, lambda: times.append(clock.now - start))

    stream(clock, random, load * servers / SERVICE, arrive)
    clock.run(seconds)
    assert station.load == pytest.approx(load, rel=NEAR)
    return times


def mean(times: list[float]) -> float:
    return sum(times) / len(times)


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.25, 0.5, 0.75])
def test_one_server_is_md1_and_with_exponential_work_mm1(load: float) -> None:
    rate = load / SERVICE
    assert mean(times_at(load)) == pytest.approx(md1_time(rate, SERVICE), rel=NEAR)
    varied = times_at(load, varied=True)
    assert mean(varied) == pytest.approx(mm1_time(rate, SERVICE), rel=NEAR)
    assert quantile(varied, 0.99) == pytest.approx(mm1_quantile(rate, SERVICE, 0.99), rel=2 * NEAR)


@pytest.mark.slow
@pytest.mark.parametrize("servers", [2, 8])
def test_several_servers_are_erlangs(servers: int) -> None:
    times = times_at(0.75, servers, varied=True, seconds=10.0)
    assert mean(times) == pytest.approx(mmc_time(0.75 * servers / SERVICE, SERVICE, servers), rel=NEAR)


def test_the_closed_forms_agree_where_they_must() -> None:
    assert mmc_time(300, SERVICE, 1) == pytest.approx(mm1_time(300, SERVICE))
    assert md1_time(1e-9, SERVICE) == pytest.approx(SERVICE)
    assert md1_time(500, SERVICE) - SERVICE == pytest.approx((mm1_time(500, SERVICE) - SERVICE) / 2)
    assert slowest(SERVICE, 1) == SERVICE
    assert slowest(SERVICE, 3) == pytest.approx(SERVICE * (1 + 1 / 2 + 1 / 3))


def test_the_same_seed_draws_the_same_times() -> None:
    assert times_at(0.5, seconds=1.0) == times_at(0.5, seconds=1.0) != times_at(0.5, seed=2, seconds=1.0)


def test_a_writer_takes_all_that_waits_up_to_its_most() -> None:
    clock = Clock()
    writer = Station(clock, most=3, fixed=1.0, pause=0.5)
    done: list[tuple[str, float]] = []
    for name in "abcde":
        writer.serve(0.1, lambda name=name: done.append((name, round(clock.now, 3))))  # type: ignore[misc]
    clock.run(10.0)
    # The first goes alone, since nobody else was there yet; three follow, and the rest.
    assert done == [("a", 1.6), ("b", 3.4), ("c", 3.4), ("d", 3.4), ("e", 5.0)]
    assert writer.load == pytest.approx((3 * 1.0 + 5 * 0.1) / 10)


def test_a_server_is_taken_until_what_stands_behind_it_calls_back() -> None:
    clock = Clock()
    waiting: list[Done] = []
    sizes: list[int] = []

    def behind(size: int, release: Done) -> None:
        sizes.append(size)
        waiting.append(release)

    station = Station(clock, most=10, behind=behind)
    done: list[float] = []
    for _ in range(3):
        station.serve(1.0, lambda: done.append(clock.now))
    clock.run(5.0)
    assert (sizes, done) == ([1], [])
    waiting.pop()()
    clock.run(8.0)
    assert (sizes, done) == ([1, 2], [5.0])
    waiting.pop()()
    assert done == [5.0, 8.0, 8.0]


def test_joined_calls_once_when_all_parts_have() -> None:
    calls: list[int] = []
    part = joined(3, lambda: calls.append(1))
    part()
    part()
    assert calls == []
    part()
    assert calls == [1]


def test_what_is_due_at_once_comes_in_the_order_in_which_it_was_asked_for() -> None:
    clock = Clock()
    order: list[str] = []
    for name in "abc":
        clock.after(1.0, lambda name=name: order.append(name))  # type: ignore[misc]
    clock.run(1.0)
    assert order == ["a", "b", "c"]


def test_there_is_no_quantile_of_nothing() -> None:
    with pytest.raises(ValueError, match="longer"):
        quantile([], 0.5)
    assert quantile([3, 1, 2], 0.5) == 2
    assert quantile([3, 1, 2], 0.99) == 3


def test_a_relay_alone_is_the_queue_of_one_server() -> None:
    """Requests of one shape to one worker over SQLite wait as M/D/1 says, and for nothing else."""
    costs = replace(MEASURED, requests={"id": replace(MEASURED.requests["id"], share=1.0, sqlite=SERVICE, events=0)})
    reading = Mix(events=0, deliveries=0)
    fleet = Fleet(workers=1, cores=1)
    assert [limit.name for limit in limits(fleet, reading, costs)] == ["workers"]
    assert capacity(fleet, reading, costs).most == pytest.approx(1 / SERVICE)
    seen = draw(fleet, reading, costs, 0.6 / SERVICE, seconds=20.0)
    assert seen.loads["workers"] == pytest.approx(0.6, rel=NEAR)
    assert seen.times[EOSE][0] == pytest.approx(md1_time(600, SERVICE), rel=0.25)  # the median is below the mean
    assert seen.times.keys() == {EOSE}


SOME = {
    "one machine": Fleet(),
    "one worker": Fleet(cores=2, workers=1),
    "no cores beside the workers": Fleet(cores=4, workers=4),
    "on one node": Fleet(relays=1, nodes=1, replicas=0),
    "on three": Fleet(relays=3, nodes=3, shards=3, replicas=1, cores=4, workers=3),
    "on thirty": Fleet(relays=20, nodes=30, shards=15, replicas=1, cores=4, workers=3),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SOME)
def test_the_simulated_load_is_the_arithmetic_one(name: str) -> None:
    """Two ways to the same number: each resource's use computed, and seen in the simulation."""
    fleet = SOME[name]
    mix = Mix(events=0.3)
    scarce = limits(fleet, mix, MEASURED)
    rate = 0.6 * scarce[0].most
    seen = draw(fleet, mix, MEASURED, rate, seconds=2.0)
    for limit in scarce:
        # A writer's fixed costs weigh more in the small batches of a moderate load than in the largest, which the
        # arithmetic takes; so do a node's. Nothing is simulated of the nodes' network, which is far from its limit.
        if limit.name in seen.loads and limit.name not in ("writer", "nodes"):
            assert seen.loads[limit.name] == pytest.approx(rate / limit.most, rel=0.12, abs=0.01), limit.name
        elif limit.name == "nodes":
            assert 0.9 < seen.loads["nodes"] * limit.most / rate < 1.9
    assert seen.times.keys() == {EOSE, OK, LIVE}


@pytest.mark.slow
def test_what_is_drawn_is_the_same_each_time_and_grows_with_the_load() -> None:
    fleet, most = SOME["on three"], capacity(SOME["on three"], USUAL, MEASURED).most
    quiet, busy = (draw(fleet, USUAL, MEASURED, share * most, seconds=2.0) for share in (0.25, 0.9))
    assert draw(fleet, USUAL, MEASURED, 0.25 * most, seconds=2.0) == quiet
    assert draw(fleet, USUAL, MEASURED, 0.25 * most, seed=2, seconds=2.0) != quiet
    for kind in (EOSE, OK, LIVE):
        assert quiet.times[kind][0] < busy.times[kind][0]
        assert quiet.times[kind][1] < busy.times[kind][1]


def most_of(fleet: Fleet, name: str, mix: Mix = USUAL) -> float:
    return next(limit.most for limit in limits(fleet, mix, MEASURED) if limit.name == name)


def test_more_shards_make_requests_dearer_and_more_copies_events() -> None:
    reading, writing = Mix(events=0), Mix(events=1)
    few, many = (Fleet(relays=4, nodes=8, shards=shards, replicas=7) for shards in (1, 8))
    assert most_of(many, "nodes", reading) < most_of(few, "nodes", reading)
    lone, safe = (Fleet(relays=4, nodes=8, shards=8, replicas=replicas) for replicas in (0, 1))
    assert most_of(safe, "nodes", writing) == pytest.approx(most_of(lone, "nodes", writing) / 2)
    assert most_of(safe, "nodes", reading) == most_of(lone, "nodes", reading)


def test_what_every_worker_hears_does_not_shrink_with_more_of_them() -> None:
    writing = Mix(events=1, deliveries=0)
    rates = [most_of(Fleet(relays=relays, nodes=relays), "workers", writing) for relays in (1, 10, 1_000)]
    assert rates[0] < rates[1] < rates[2] < 1 / MEASURED.note
    assert most_of(Fleet(relays=1_000, nodes=1), "bus", writing) < most_of(Fleet(relays=10, nodes=1), "bus", writing)


def test_a_node_without_a_copy_of_anything_does_nothing() -> None:
    one, idle = (Fleet(relays=1, nodes=nodes, shards=1, replicas=1) for nodes in (2, 5))
    assert most_of(one, "nodes") == most_of(idle, "nodes")
    assert idle.busy == 2


def test_machines_are_divided_so_that_the_whole_does_most() -> None:
    assert divided(1, 1_000_000, USUAL, MEASURED) == Fleet()
    best = divided(10, 1_000_000_000, USUAL, MEASURED)
    assert best.machines == 10
    assert best.shards == shards_of(1_000_000_000, MEASURED) == 26
    assert best.replicas >= 1
    for relays in range(1, 10):
        other = replace(best, relays=relays, nodes=10 - relays)
        assert capacity(other, USUAL, MEASURED).most <= capacity(best, USUAL, MEASURED).most
    assert divided(2, 1_000, USUAL, MEASURED).replicas == 0  # a copy never stands beside its primary


@pytest.mark.slow
def test_the_table_has_a_row_for_each_load() -> None:
    rows = list(drawn(1_000_000, machines=[2], loads=[0.5]))
    table = markdown(HEAD, rows).splitlines()
    assert len(table) == 3
    assert len({line.count("|") for line in table}) == 1
    assert list(drawn(10**9, machines=[1])) == []


def test_a_part_that_is_not_there_is_refused() -> None:
    told = CliRunner().invoke(main, ["scaling", "nothing"])
    assert (told.exit_code, "no part nothing" in told.output) == (2, True)
