"""The numbers of several workers become those of one relay: as an operator sees them, on the page."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from tests.support.keys import ALICE, BOB
from tests.support.marks import examples
from tests.support.server import open_door
from trio_relay import metrics, process
from trio_relay.metrics import MetricsPage
from trio_relay.net import statistics as of_net
from trio_relay.pipeline import statistics as of_relay
from trio_relay.store import base
from trio_relay.workers import statistics

Both = tuple[of_relay.RelayStatistics, of_net.NetStatistics]
Samples = dict[tuple[str, ...], float]

COUNT = st.integers(0, 1_000)
MOST = {
    "trio_relay_barred_addresses",
    "trio_relay_channel_peak",
    "trio_relay_mirror_connected",
    "trio_relay_store_bytes",
    "trio_relay_store_free_bytes",
    "trio_relay_store_wal_bytes",
    "trio_relay_tls_certificate_expiry_seconds",
    "trio_relay_tls_certificate_start_seconds",
}
LEAST = {"trio_relay_healthy"}
OWN = {
    "trio_relay_clock_seconds",
    "trio_relay_process_open_files",
    "trio_relay_process_open_files_limit",
    "trio_relay_process_start_seconds",
}


def tables(*keys: Any) -> st.SearchStrategy[dict[Any, int]]:
    return st.dictionaries(st.sampled_from(keys), COUNT)


DISTRIBUTIONS = st.builds(
    of_relay.Distribution,
    st.just((1, 2.5)),
    st.tuples(COUNT, COUNT, COUNT),
    COUNT.map(float),
)
FAILURES = st.sampled_from([None, "no space left"])
WITH_NUMBERS: dict[type, st.SearchStrategy[Any]] = {
    of_relay.VerifierStatistics: st.builds(
        of_relay.VerifierStatistics, DISTRIBUTIONS, DISTRIBUTIONS, tables("duplicate", "bad_signature")
    ),
    of_relay.WriterStatistics: st.builds(
        of_relay.WriterStatistics,
        DISTRIBUTIONS,
        DISTRIBUTIONS,
        DISTRIBUTIONS,
        tables("stored", "duplicate"),
        FAILURES,
    ),
    of_relay.BroadcasterStatistics: st.builds(
        of_relay.BroadcasterStatistics, COUNT, COUNT, COUNT, COUNT, COUNT, DISTRIBUTIONS
    ),
    of_relay.QueriesStatistics: st.builds(
        of_relay.QueriesStatistics,
        COUNT,
        COUNT,
        tables("answered", "failed"),
        DISTRIBUTIONS,
        tables("answered"),
        DISTRIBUTIONS,
    ),
    of_relay.TurnsStatistics: st.builds(of_relay.TurnsStatistics, COUNT, COUNT, DISTRIBUTIONS, COUNT),
    of_relay.SyncStatistics: st.builds(of_relay.SyncStatistics, COUNT, COUNT, COUNT, COUNT),
    of_relay.JudgingStatistics: st.builds(
        of_relay.JudgingStatistics,
        tables("accept"),
        DISTRIBUTIONS,
        DISTRIBUTIONS,
        st.just({}),
        tables(("on_event", "accepted"), ("on_filters", "failed")),
    ),
    base.StoreStatistics: st.builds(
        base.StoreStatistics,
        st.just("sqlite"),
        COUNT,
        COUNT,
        FAILURES,
        st.none() | st.builds(base.CacheStatistics, COUNT, COUNT, COUNT, COUNT),
        free_bytes=st.none() | COUNT,
        failed_requests=st.none() | tables("busy", "unreachable"),
    ),
}
MIRRORS = st.dictionaries(
    st.sampled_from([("wss://there.example", "down"), ("wss://there.example", "up")]),
    st.builds(
        of_relay.MirrorStatistics,
        st.sampled_from([None, "live"]),  # it runs in one process at a time
        COUNT,
        FAILURES,
        tables("taken", "given"),
        COUNT,
        COUNT,
        COUNT,
    ),
)
RELAYS = st.builds(
    of_relay.RelayStatistics,
    st.just("batch"),
    COUNT,
    tables("1", "7"),
    tables("invalid", "blocked"),
    COUNT,
    st.dictionaries(
        st.sampled_from(["intake", "live"]),
        st.builds(of_relay.ChannelStatistics, COUNT, COUNT, st.sampled_from([4.0, float("inf")])),
    ),
    *WITH_NUMBERS.values(),
    MIRRORS,
)
NETS = st.builds(
    of_net.NetStatistics,
    COUNT,
    COUNT,
    COUNT,
    tables("idle", "silent"),
    st.builds(
        of_net.RefusalStatistics, tables(("REQ", "invalid"), ("EVENT", "blocked")), tables(("1", "pow")), tables("404")
    ),
    tables("EMFILE"),
    tables("in", "out"),
    tables("events_per_address", "work_per_key"),
    COUNT,
    st.none() | tables("closed", "too slow"),
    st.none() | COUNT.map(float),
    st.none() | COUNT.map(float),
    st.none() | DISTRIBUTIONS,
)
BOTH = st.tuples(RELAYS, NETS)
WORKERS = st.builds(statistics.ServingStatistics, RELAYS, NETS, COUNT.map(float), COUNT, COUNT, COUNT)


def page_of(both: Both) -> bytes:
    return MetricsPage(lambda: both, use=lambda: (0.0, 0)).render()[0]


def samples(page: bytes, *types: str) -> Samples:
    """Every sample of families of these types, of all if there are none, by its name and its labels' values; but for
    what the process of the page tells of itself.
    """
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
        if not types or family.type in types
        if sample.name not in OWN
    }


def sums(parts: list[Samples]) -> Samples:
    """What is expected of all parts: sums, but for what is told of the most or the least."""
    found: Samples = {}
    for part in parts:
        for key, value in part.items():
            if key not in found:
                found[key] = value
            elif key[0] in MOST or key[0] == "trio_relay_info":
                found[key] = max(found[key], value)
            elif key[0] in LEAST:
                found[key] = min(found[key], value)
            else:
                found[key] += value
    return found


def both_of(parts: list[Both]) -> Both:
    return statistics.added(relay for relay, _ in parts), statistics.added(net for _, net in parts)


@pytest.mark.slow
@settings(max_examples=examples(40))
@given(parts=st.lists(BOTH, min_size=1, max_size=3))
def test_the_page_of_all_has_the_sums_of_their_pages(parts: list[Both]) -> None:
    assert samples(page_of(both_of(parts))) == sums([samples(page_of(part)) for part in parts])


@pytest.mark.slow
@settings(max_examples=examples(40))
@given(worker=WORKERS)
def test_what_travels_arrives_as_it_was(worker: statistics.ServingStatistics) -> None:
    arrived = statistics.decode(statistics.encode(worker))
    assert arrived == worker
    assert samples(page_of((arrived.relay, arrived.net))) == samples(page_of((worker.relay, worker.net)))


@pytest.mark.parametrize("value", [None, 1, [], {"relay": 1}, {"relay": {}, "net": {}}])
def test_what_is_something_else_is_refused(value: object) -> None:
    with pytest.raises(msgspec.DecodeError):
        statistics.decode(msgspec.msgpack.encode(value))


@pytest.mark.slow
@settings(max_examples=examples(40))
@given(part=BOTH)
def test_of_who_has_ended_what_it_did_remains(part: Both) -> None:
    rest = page_of((statistics.remains(part[0]), statistics.remains(part[1])))
    assert samples(rest, "counter", "histogram") == samples(page_of(part), "counter", "histogram")
    left = {key: value for key, value in samples(rest, "gauge").items() if value and key[0] != "trio_relay_info"}
    peaks = {key: value for key, value in samples(page_of(part)).items() if key[0] == "trio_relay_channel_peak"}
    assert left == {key: value for key, value in peaks.items() if value} | {("trio_relay_healthy",): 1}


def test_histograms_of_different_bounds_are_not_added() -> None:
    one, other = of_relay.Distribution((1,), (1, 2), 3.0), of_relay.Distribution((2,), (1, 2), 3.0)
    with pytest.raises(ValueError, match="different bounds"):
        statistics.added([one, other])


KEEPER = statistics.KeeperStatistics("batch", base.StoreStatistics("sqlite", 100, 10))


def told_of(number: int) -> statistics.ServingStatistics:
    """What a worker tells that has had so many connections and refusals, and has one of each kind open."""
    relay, net = statistics.nothing(KEEPER)
    net = replace(
        net, connections=1, accepted=number, refusals=of_net.RefusalStatistics({("REQ", "x"): number}, {}, {})
    )
    relay = replace(relay, unreadable=number, channels={"intake": of_relay.ChannelStatistics(1, number, 4.0)})
    return statistics.ServingStatistics(relay, net, 1.0, 1_000, number, 20)


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["start", "tell", "end"]), st.integers(0, 9)), max_size=40
)


@pytest.mark.slow
@settings(max_examples=examples(40))
@given(steps=STEPS)
def test_sums_are_of_all_lives_and_never_fall(steps: list[tuple[int, str, int]]) -> None:
    """As a worker's own numbers only grow while it lives, and what it says after its end counts no more."""
    totals = statistics.Totals(range(3), lambda: 0.0)
    ended, alive, has_told = 0, dict[int, int](), set[int]()
    for worker, step, more in steps:
        before = totals.whole(KEEPER)[1].accepted
        if step == "tell":
            if worker in alive:
                alive[worker] += more
                has_told.add(worker)
            totals.told(worker, told_of(alive.get(worker, more)))
        else:
            ended += alive.pop(worker, 0)
            has_told.discard(worker)
            if step == "start":
                totals.started(worker)
                alive[worker] = 0
            else:
                totals.ended(worker)
        relay, net = totals.whole(KEEPER)
        expected = ended + sum(alive.values())
        assert before <= expected
        assert (net.accepted, relay.unreadable, net.refusals.messages.get(("REQ", "x"), 0)) == (expected,) * 3
        assert (net.connections, sum(one.depth for one in relay.channels.values())) == (len(has_told),) * 2


def test_store_and_commits_are_as_the_keeper_sees_them_and_caches_are_added() -> None:
    totals = statistics.Totals((1, 2), lambda: 0.0)
    cache = base.CacheStatistics(1, 2, 3, 4)
    for worker in (1, 2):
        totals.started(worker)
        told = told_of(1)
        store = base.StoreStatistics("kept", 1_000, 1_000, cache=cache)
        totals.told(worker, replace(told, relay=replace(told.relay, store=store)))
    relay, _ = totals.whole(KEEPER)
    assert relay.store == base.StoreStatistics("sqlite", 100, 10, cache=base.CacheStatistics(2, 4, 6, 8))
    assert relay.writer.failure is None
    own = replace(KEEPER.store, cache=cache, trouble="the disk is slow")
    commits = of_relay.Distribution((1,), (2, 3), 9.0)
    relay, _ = totals.whole(replace(KEEPER, store=own, batches=commits, seconds=commits, failure="no space left"))
    assert relay.store == replace(own, cache=base.CacheStatistics(3, 6, 9, 12))
    assert (relay.writer.batches, relay.writer.seconds, relay.writer.failure) == (commits, commits, "no space left")


def test_each_process_has_its_numbers() -> None:
    now = 100.0
    totals = statistics.Totals(range(3), lambda: now)
    now = 110.0
    totals.started(0)
    totals.started(1)
    now = 115.0
    totals.started(1)
    totals.told(1, told_of(7))
    now = 120.0
    totals.ended(0)
    figures = totals.figures(9, 4)
    assert (figures.running, figures.crashes) == (1, 4)
    assert (figures.keeper.name, figures.keeper.age_seconds) == ("keeper", 20.0)
    assert figures.keeper.cpu_seconds > 0
    assert figures.keeper.open_files > 3
    assert figures.workers == (
        metrics.WorkerFigures(metrics.ProcessFigures("0", 0.0, 0, 0.0)),
        metrics.WorkerFigures(metrics.ProcessFigures("1", 1.0, 1_000, 5.0, 20), connections=1, behind=2, restarts=1),
        metrics.WorkerFigures(metrics.ProcessFigures("2", 0.0, 0, 0.0)),
    )
    assert [one.behind for one in totals.figures(5, 0).workers] == [0, 0, 0]


def test_failed_requests_and_lag_are_those_of_the_keeper_and_of_all_workers() -> None:
    totals = statistics.Totals((1, 2), lambda: 0.0)
    lag = of_relay.Distribution((1,), (2, 3), 9.0)
    for worker in (1, 2):
        totals.started(worker)
        told = told_of(1)
        store = replace(told.relay.store, failed_requests={"busy": worker})
        totals.told(worker, replace(told, relay=replace(told.relay, store=store), net=replace(told.net, loop_lag=lag)))
    totals.ended(2)
    own = replace(KEEPER.store, failed_requests={"busy": 10, "unreachable": 1})
    relay, net = totals.whole(replace(KEEPER, store=own, loop_lag=lag))
    assert relay.store.failed_requests == {"busy": 13, "unreachable": 1}
    assert net.loop_lag == of_relay.Distribution((1,), (6, 9), 27.0)


async def test_two_workers_on_one_page(autojump_clock: MockClock) -> None:
    totals = statistics.Totals((1, 2), lambda: 0.0)
    async with open_door() as one, open_door() as other, one.client() as client, other.client() as another:
        await client.ask("a", {})
        await another.ask("a", {"kinds": [1]})
        for event in (ALICE.event("a"), BOB.event("b")):
            await client.publish(event)
            await client.receive()
        await another.publish(ALICE.event("a"))
        for worker, door in enumerate((one, other), 1):
            totals.started(worker)
            told = statistics.ServingStatistics(door.relay.statistics(), door.server.statistics(), 2.0, 50, 4 - worker)
            totals.told(worker, statistics.decode(statistics.encode(told)))
    seen = samples(MetricsPage(lambda: totals.whole(KEEPER), lambda: totals.figures(3, 1)).render()[0])
    assert seen["trio_relay_connections",] == 2
    assert seen["trio_relay_events_total", "stored"] == 3
    assert seen["trio_relay_write_batch_events_count",] == 3
    assert seen["trio_relay_subscriptions",] == 2
    assert (seen["trio_relay_workers",], seen["trio_relay_workers_crashed_total",]) == (2, 1)
    of_workers = {key: value for key, value in seen.items() if key[0].startswith("trio_relay_worker_")}
    expected = {
        "connections": (1, 1),
        "subscriptions": (1, 1),
        "feed_behind": (0, 1),
        "resident_bytes": (50, 50),
        "age_seconds": (0, 0),
        "open_files": (0, 0),
        "events_total": (2, 1),
        "queries_total": (1, 1),
        "deliveries_total": (2, 1),
        "restarts_total": (0, 0),
        "cpu_seconds_total": (2, 2),
    }
    assert {key: value for key, value in of_workers.items() if key[1] != "keeper"} == {
        (f"trio_relay_worker_{name}", str(worker)): value
        for name, values in expected.items()
        for worker, value in enumerate(values, 1)
    }
    assert {key[0].removeprefix("trio_relay_worker_") for key in of_workers if key[1] == "keeper"} == {
        "resident_bytes",
        "open_files",
        "age_seconds",
        "cpu_seconds_total",
    }


def test_what_a_process_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    block = bytearray(64 * 2**20)
    block[::4096] = b"x" * len(block[::4096])
    cpu, resident = process.own_use()
    assert 0 < cpu <= time.process_time()
    assert resident > len(block)

    def read_text(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", read_text)
    assert process.own_use()[1] > len(block)
