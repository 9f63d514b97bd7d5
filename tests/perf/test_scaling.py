"""The simulation gives what queueing theory says where that has an answer, and the same each time."""

from __future__ import annotations

import re
import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random

import httpx
import pytest
from click.testing import CliRunner

from perf.__main__ import main
from perf.cluster import Cluster
from perf.corpus import signed_events
from perf.scaling.checking import HEAD as HEAD_OF_CHECK
from perf.scaling.checking import SCENARIO_NAMES, checked
from perf.scaling.costs import MEASURED
from perf.scaling.fleet import USUAL, Fleet, Mix, capacity, limits
from perf.scaling.machines import divided, shards_of
from perf.scaling.plans import Habits, Machine, least, planned, rows
from perf.scaling.queues import md1_time, mm1_quantile, mm1_time, mmc_time, slowest
from perf.scaling.shards import HEAD as HEAD_OF_SHARDS
from perf.scaling.shards import look, row
from perf.scaling.simulation import Clock, Done, Station, joined, quantile, stream
from perf.scaling.slice import EOSE, LIVE, OK, draw
from perf.scaling.streams import notes
from perf.scaling.tables import HEAD, drawn, markdown, told

ROOT = Path(__file__).parents[2]
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


def test_a_server_that_sleeps_is_woken_once() -> None:
    clock = Clock()
    station = Station(clock, waking=0.5)
    done: list[float] = []
    for _ in range(3):
        station.serve(1.0, lambda: done.append(clock.now))
    clock.run(10.0)
    station.serve(1.0, lambda: done.append(clock.now))
    clock.run(20.0)
    assert done == [1.5, 2.5, 3.5, 11.5]
    assert station.load == pytest.approx((4 * 1.0 + 2 * 0.5) / 20)


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
    costs = replace(
        MEASURED, waking=0, requests={"id": replace(MEASURED.requests["id"], share=1.0, sqlite=SERVICE, events=0)}
    )
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
    costs = replace(MEASURED, waking=0)  # of which a busy worker has none, and the arithmetic is of busy ones
    scarce = limits(fleet, mix, costs)
    rate = 0.6 * scarce[0].most
    seen = draw(fleet, mix, costs, rate, seconds=2.0)
    for limit in scarce:
        # Commits and `_bulk`s are smaller at a moderate load than at the limit, so they cost a writer and the nodes
        # more there. Nothing is simulated of the nodes' network, which is far from its limit.
        if limit.name not in seen.loads or limit.name == "writer":
            continue
        ratio = seen.loads[limit.name] / (rate / limit.most)
        assert ratio == pytest.approx(1, abs=0.15) or (limit.name == "nodes" and 1 < ratio < 1.3), limit.name
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
    assert most_of(safe, "nodes", writing) < 0.8 * most_of(lone, "nodes", writing)
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


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SCENARIO_NAMES)
def test_a_relay_is_loaded_and_set_beside_the_simulation(name: str) -> None:
    """What is compared, not how well: that is for a machine on which nothing else runs."""
    told: list[str] = []
    ((load, rate, *figures),) = checked(name, told.append, scale=0.01, shares=[0.5])
    assert (load, len(figures)) == ("50%", len(HEAD_OF_CHECK) - 2)
    most = float(re.search(rf"{name}: at most ([\d,]+)/s", told[-1])[1].replace(",", ""))  # type: ignore[index]
    assert float(rate.removesuffix("/s").replace(",", "")) == pytest.approx(most / 2, rel=0.02)
    for cell in figures[:2]:
        median, most = map(float, cell.split(" / "))
        assert 0 < median <= most


PLAN = planned(10, 100_000_000, Habits(), MEASURED, Machine())


def test_a_plan_says_what_its_machines_hold() -> None:
    assert PLAN.fleet.machines == 10
    assert PLAN.operations == pytest.approx(0.6 * capacity(PLAN.fleet, Habits().mix, MEASURED).most)
    assert PLAN.connections == pytest.approx(PLAN.operations / Habits().operations)
    copies = 1 + PLAN.fleet.replicas
    assert PLAN.disk * PLAN.fleet.busy == pytest.approx(100_000_000 * MEASURED.stored_cluster * copies)
    assert PLAN.events_at_most * MEASURED.stored_cluster * copies == pytest.approx(0.7 * 4e12 * PLAN.fleet.busy)
    assert PLAN.notes == pytest.approx(PLAN.connections / 1_000)


def test_where_memory_is_scarce_it_decides_how_many_connections_there_are() -> None:
    poor = replace(PLAN, machine=Machine(memory=4e9))
    each = MEASURED.connection_bytes + MEASURED.socket_bytes
    assert poor.connections == poor.connections_in_memory < PLAN.connections
    assert poor.connections == pytest.approx(PLAN.fleet.relays * (2e9 - PLAN.fleet.workers * 60e6) / each)


@pytest.mark.slow
def test_the_least_plan_holds_what_was_asked_and_one_machine_less_does_not() -> None:
    asked = 200_000_000, 100_000
    plan = least(*asked, Habits(), MEASURED, Machine())
    less = planned(plan.fleet.machines - 1, asked[0], Habits(), MEASURED, Machine())
    assert plan.connections >= asked[1] > less.connections
    with pytest.raises(ValueError, match="too few"):
        least(1e9, 1e9, Habits(requests=10), MEASURED, Machine())


def test_a_relay_alone_has_no_bus() -> None:
    alone = planned(1, 1_000_000, Habits(), MEASURED, Machine())
    assert alone.notes == 0
    assert "the bus sends" not in dict(rows(alone))
    assert "the bus sends" in dict(rows(PLAN))


@pytest.mark.slow
def test_the_page_has_the_plans_that_the_program_prints() -> None:
    printed = CliRunner().invoke(main, ["scaling", "plans"]).output.strip().splitlines()
    assert len(printed) > 10
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in printed if line not in page] == []


def test_the_page_has_each_cost_as_it_is_computed_with() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    assert [name for name, value in told(MEASURED) if f"| `{name}` | {value} |" not in page] == []
    for name, one in MEASURED.requests.items():
        figures = (one.sqlite, one.relay, one.once + one.shard, one.shard)
        row = " | ".join([f"{one.share:.0%}", *(f"{figure * 1e3:.2f} ms" for figure in figures), f"{one.events}"])
        assert f"| {name} | {row} |" in page


@pytest.mark.slow
def test_searches_and_bulks_are_measured_on_a_real_node(node: str) -> None:
    with closing(Cluster(node, None)) as cluster:
        one, seen = look(cluster, [1, 2], stored=200, share=0.01, rounds=1)
        assert (one.shards, seen.shards) == (1, 2)
        assert seen.searches.keys() == {"id", "latest"}
        assert list(seen.bulks) == [1, 10, 100, 1_000]
        assert all(one.waited > 0 for one in (*seen.searches.values(), *seen.bulks.values()))
        assert len(row(seen)) == len(HEAD_OF_SHARDS)
        assert httpx.get(f"{node}/_cat/indices/perf-shards-*?format=json").json() == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_notes_are_added_to_a_real_stream_and_read_by_all() -> None:
    events = signed_events(400)
    took = notes(events, count=400, readers=2)
    values = sum(len(event.content) + len(event.sig) + len(event.id) + len(event.pubkey) for event in events) / 400
    assert values < took.size < 2 * values
    assert took.held > took.size
