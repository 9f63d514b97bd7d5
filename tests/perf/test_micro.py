"""Each micro-benchmark on a tiny load: it runs, and what it tells makes sense. No word about how fast it is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import msgspec
import pytest

from perf import micro
from perf.corpus import generate
from perf.micro import run
from perf.micro.channels import channels
from perf.micro.delivery import delivery
from perf.micro.indexing import indexing
from perf.micro.redis_lists import SERVER, redis
from perf.micro.resp import Redis, RespError
from perf.micro.rows import CLOCK, CPU, RATE, Row, Skipped
from perf.micro.subscriptions import subscriptions
from perf.micro.syncing import syncing
from perf.micro.validation import validation
from perf.servers import Command, running
from perf.yardstick import Reading
from trio_relay import Event

EVENTS: Sequence[Event] = list(generate(120, 1, sign=True))

needs_redis = pytest.mark.skipif(not SERVER.is_here, reason="redis-server is not installed")


def check(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows by what they tell; each has a name of its own, a known unit, and a value that a clock can give."""
    for row in rows:
        assert row.unit in (CPU, CLOCK, RATE)
        assert math.isfinite(row.value), row
        assert row.value > 0, row
    by_name = {row.what: row for row in rows}
    assert len(by_name) == len(rows)
    return by_name


def test_channels_route_each_way() -> None:
    rows = check(channels(EVENTS, count=130))
    assert len(rows) == 5
    assert {row.bar for row in rows.values()} == {10}


@pytest.mark.redis
@needs_redis
def test_redis_routes_each_way() -> None:
    rows = check(redis(EVENTS, count=130))
    assert len(rows) == 7
    assert {row.bar for row in rows.values()} == {None}


@pytest.mark.redis
@needs_redis
def test_redis_errors_are_errors() -> None:
    with running(SERVER) as server, Redis(server.folder / "socket") as connection:
        assert connection.ask(b"SET", b"key", b"value") == b"OK"
        assert connection.ask(b"GET", b"key") == b"value"
        assert connection.ask(b"GET", b"none") is None
        assert connection.ask(b"BRPOP", b"none", b"0.001") is None
        with pytest.raises(RespError, match="WRONGTYPE"):
            connection.ask(b"LPUSH", b"key", b"value")
        connection.send(b"*1\r\n$4\r\nQUIT\r\n")
        assert connection.answer() == b"OK"
        with pytest.raises(RespError):
            connection.answer()


def test_redis_is_skipped_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perf.micro.redis_lists.SERVER", Command("redis", "no-such-program"))
    with pytest.raises(Skipped, match="not installed"):
        redis(EVENTS, count=1)


def test_validation_tells_the_parts_and_the_whole() -> None:
    rows = check(validation(EVENTS, count=60))
    whole = [row for row in rows.values() if row.bar is not None]
    assert [row.bar for row in whole] == [100, 100]


@pytest.mark.parametrize(
    ("field", "reason"), [("id", "refused: invalid: id"), ("content", "refused: invalid: id"), ("sig", "found wrong")]
)
def test_validation_fails_if_an_event_is_not_valid(field: str, reason: str) -> None:
    first, second = EVENTS[:2]
    broken = msgspec.structs.replace(first, **{field: getattr(second, field)})
    with pytest.raises(RuntimeError, match=reason):
        validation([broken], count=1)


def test_subscriptions_tell_each_operation_and_shape() -> None:
    rows = check(subscriptions(EVENTS, count=200, churn=50))
    with_bar = [what for what, row in rows.items() if row.bar is not None]
    assert [what.split(",")[0] for what in with_bar] == ["add", "remove", "match", "match"]
    assert [what for what in rows if what.startswith("add, kinds")] == [
        "add, kinds, 2 values",
        "add, kinds, each value",
    ]


def test_indexing_tells_each_step_and_question() -> None:
    rows = check(indexing(EVENTS, count=100))
    assert len(rows) == 9
    assert [what for what in rows if what.endswith("100 there")] == [
        "recent events, by id, 100 there",
        "recent events, of an author, 100 there",
        "recent events, of a kind, 100 there",
    ]


def test_syncing_tells_each_step() -> None:
    rows = list(check(syncing(EVENTS, count=4_000)))
    assert rows[0] == "an item of 4,000, by pages, newest first"
    assert rows[-1] == "all 2 answers of a sync, 4 differ"
    assert len(rows) == 6


def test_delivery_tells_each_load() -> None:
    rows = check(delivery(EVENTS, lone=5, flood=120, listeners=3))
    late = [what for what, row in rows.items() if row.bar == 10_000]
    assert [what.rpartition("/s, ")[2] for what in late] == ["OK, p99", "delivered, p99"]
    assert rows["messages, 3 subscribers to each event"].bar == 50_000
    for what in rows:
        if what.endswith("p50"):
            assert rows[what].value <= rows[what.replace("p50", "p99")].value


def test_a_rate_is_to_be_reached_and_all_else_not_to_be_exceeded() -> None:
    assert [Row("", value, RATE, 5).is_reached for value in (4.9, 5, 5.1)] == [False, True, True]
    assert [Row("", value, CPU, 5).is_reached for value in (4.9, 5, 5.1)] == [True, True, False]
    assert Row("", 1, CLOCK).is_reached is None


@pytest.fixture
def two_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has rows and one that is skipped, on a machine on which a verification takes 50 µs."""

    def rows(_events: Sequence[Event]) -> list[Row]:
        return [Row("a step", 5, CPU, 10), Row("a slow step", 500, CLOCK, 10), Row("steps", 7, RATE, 6)]

    def skipped(_events: Sequence[Event]) -> list[Row]:
        raise Skipped("no luck")

    monkeypatch.setattr(run, "BENCHMARKS", {"steps": rows, "absent": skipped})
    monkeypatch.setattr(run, "signed_events", lambda _count: EVENTS)
    monkeypatch.setattr("perf.yardstick.look", lambda rounds: Reading((50.0,) * rounds, (200.0,)))


@pytest.mark.usefixtures("two_benchmarks")
def test_what_was_measured_fits_into_json() -> None:
    measured = json.loads(json.dumps(micro.measure([])))
    assert [measured["yardstick"][name] for name in ("verification", "fdatasync", "drift")] == [50, 200, 0]
    assert measured["skipped"] == {"absent": "no luck"}
    step = {"what": "a step", "value": 5, "unit": CPU, "bar": 10, "is_reached": True, "v": 0.1}
    assert measured["rows"]["steps"][0] == step
    assert [row["v"] for row in measured["rows"]["steps"]] == [0.1, 10, None]


@pytest.mark.usefixtures("two_benchmarks")
def test_the_table_says_which_bars_were_missed_and_what_was_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    micro.main([])
    printed = capsys.readouterr().out
    assert "V = 50.0 µs of CPU, F = 200 µs" in printed
    assert "absent: skipped, no luck" in printed
    assert "2 of 3 bars reached\n  steps: a slow step\n" in printed
    assert "quieter machine" not in printed


@pytest.mark.usefixtures("two_benchmarks")
def test_a_yardstick_that_moved_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("perf.yardstick.look", lambda rounds: Reading((50.0 + 2 * rounds,), (200.0,) * rounds))
    micro.main(["absent"])
    assert "quieter machine" not in capsys.readouterr().out
    monkeypatch.setattr("perf.yardstick.look", lambda rounds: Reading((10.0 * rounds,), (200.0,) * rounds))
    micro.main(["absent"])
    assert "V has moved by 25% meanwhile" in capsys.readouterr().out


def test_only_known_benchmarks_can_be_named() -> None:
    told = "no micro-benchmark one, two; there are channels, redis"
    with pytest.raises(run.UnknownBenchmark, match=told):
        micro.measure(["one", "validation", "two"])
    with pytest.raises(SystemExit, match=told):
        micro.main(["one", "two"])
