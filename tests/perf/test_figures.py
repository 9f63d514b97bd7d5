"""Numbers: medians of rounds, bars judged right at their edges, and tables that say so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from perf.figures import describe, figures, judge
from perf.plan import Counted, quantiles
from perf.report import number, summary, table
from perf.results import CLOSED, PACED, Figures, Results, Run, Sample, Verdict, load, save
from perf.scenarios import SCENARIOS, Bar
from perf.servers import OURS
from perf.yardstick import Yardstick

UNITS = Yardstick(50, 200, 0.01, (50, 50.5), (190, 210))


def sample(
    server: str = OURS.name, *, seconds: float = 2, cpu: float = 1, part: str = CLOSED, messages: int = 100
) -> Sample:
    """A thousand operations."""
    counted = Counted(operations=1_000, messages=messages, seconds=seconds, latencies={"OK": [0.001, 0.004]}, cpu=0.5)
    return Sample(server=server, part=part, counted=counted, cpu=cpu, rss=(1_000_000, 5_000_000))


def one(*samples: Sample) -> Figures:
    (row,) = figures(samples or [sample()], UNITS)
    return row


def test_figures_are_of_an_operation() -> None:
    assert one() == Figures(
        server=OURS.name,
        part=CLOSED,
        rate=500,
        messages=50,
        latencies={"OK": (1_000, 4_000)},
        cpu=1_000,
        v=20,
        rss=5_000_000,
        growth=4_000,
        cores=0.75,
        generator_cpu=500,
        ceiling=2_000,
    )


def test_figures_are_medians_of_rounds() -> None:
    row = one(*(sample(seconds=seconds, cpu=cpu) for seconds, cpu in [(1, 7), (2, 3), (9, 4)]))
    assert (row.rate, row.cpu) == (500, 4_000)


def test_servers_parts_and_failures_are_kept_apart() -> None:
    samples = [sample(), sample("peer"), sample(part=PACED), Sample(server="ghost", failure="gone"), sample()]
    rows = [(row.server, row.part) for row in figures(samples, UNITS)]
    assert rows == [(OURS.name, CLOSED), ("peer", CLOSED), (OURS.name, PACED)]


@pytest.mark.parametrize(
    ("bar", "value"),
    [
        (Bar("cpu", 20), 20),
        (Bar("p50 OK", 20), 20),
        (Bar("p99 OK", 80), 80),
        (Bar("p50 OK", 4, "V+F"), 4),
        (Bar("p99 OK", 4, "ms"), 4),
        (Bar("rss", 4_000, "B"), 4_000),
        (Bar("cores", 0.75, "cores", is_least=True), 0.75),
        (Bar("messages", 50, "/s", is_least=True), 50),
        (Bar("cpu", 2.5, "x", other="ingest"), 2.5),
        (Bar("rate", 0.4, "x", other="peer", is_least=True), 0.4),
    ],
)
def test_a_bar_is_reached_up_to_its_limit(bar: Bar, value: float) -> None:
    others: Mapping[str, float] = {"ingest": 8, "peer": 1_250}
    verdict = judge(bar, one(), UNITS, others)
    assert verdict.value == pytest.approx(value)
    assert verdict.is_reached
    worse = Bar(bar.quantity, value * (1.01 if bar.is_least else 0.99), bar.unit, None, bar.is_least, bar.other)
    assert judge(worse, one(), UNITS, others).is_reached is False


@pytest.mark.parametrize("bar", [Bar("cpu", 1, "x", other="ingest"), Bar("p99 live", 1)])
def test_what_was_not_measured_is_not_judged(bar: Bar) -> None:
    assert judge(bar, one(), UNITS, {}).is_reached is None
    assert judge(bar, None, UNITS, {"ingest": 1}).is_reached is None


def test_every_bar_of_every_scenario_can_be_judged() -> None:
    row = Figures(**{**{name: getattr(one(), name) for name in Figures.__struct_fields__}, "latencies": LATENCIES})
    for scenario in SCENARIOS.values():
        for bar in scenario.bars:
            assert judge(bar, row, UNITS, {"ingest": 1, "bare loop": 1, "pipeline": 1}).value is not None, describe(bar)


LATENCIES = {"OK": (1.0, 2.0), "EOSE": (1.0, 2.0), "live": (1.0, 2.0)}


def test_quantiles_are_members() -> None:
    assert quantiles([]) == []
    assert quantiles([3.0]) == [3, 3]
    assert quantiles([float(value) for value in range(100, 0, -1)]) == [51, 100]


def run(*samples: Sample, scenario: str = "ingest", verdicts: tuple[Verdict, ...] = ()) -> Run:
    return Run(
        scenario=scenario,
        title="",
        yardstick=UNITS,
        attempts=1,
        figures=figures(samples, UNITS),
        verdicts=list(verdicts),
        skipped={"ghost": "is not there"},
        failed={"peer": "out of luck"},
        samples=list(samples),
    )


REACHED = Verdict(bar="one", value=1, is_reached=True)
MISSED = Verdict(bar="two", value=1234.5, is_reached=False)
UNKNOWN = Verdict(bar="three", value=None, is_reached=None)


def test_a_table_has_each_server_and_how_ours_relates_to_it() -> None:
    lines = table(run(sample(), sample("peer", cpu=4, seconds=4))).splitlines()
    cells = {line.split()[0]: line.split() for line in lines}
    assert cells["trio-relay"] == ["trio-relay", "500", "1/4", "1,000", "20", "5", "0.75", "500", "2,000"]
    assert cells["peer"][:5] == ["peer", "250", "1/4", "4,000", "80"]
    assert cells["ours"][:7] == ["ours", "/", "this", "2", "1/1", "0.25", "0.25"]
    assert cells["strfry"] == ["strfry", "(reference)", "4"]
    assert lines[0].startswith("  V 50.0 µs (50.0 before, 50.5 after, 1.0% apart), F 200 µs (190 before, 210 after)")
    assert "  peer: failed: out of luck" in lines
    assert "  ghost: skipped, it is not there" in lines


def test_memory_of_an_operation_is_told_where_it_is_the_point() -> None:
    assert "KB/op" in table(run(sample(), scenario="idle"))
    assert "KB/op" not in table(run(sample()))


def test_what_stands_behind_a_server_is_told_where_something_does() -> None:
    behind = msgspec.structs.replace(sample(), node_cpu=0.25, batch=640)
    assert (one(behind).node_cpu, one(behind).batch, one(behind).cores) == (250, 640, 0.875)
    head, row = table(run(behind, scenario="os-ingest")).splitlines()[1:3]
    assert "RSS MB  node µs/op  events/batch  cores" in head
    assert row.split() == ["trio-relay", "500", "1/4", "1,000", "20", "5", "250", "640", "0.875", "500", "2,000"]
    assert "node" not in table(run(sample()))


def test_what_counts_found_is_told() -> None:
    found = with_counted(matches=4_200_000)
    head, row = table(run(found, scenario="count-1m")).splitlines()[1:3]
    assert "RSS MB  matches/op  cores" in head
    assert row.split()[6:8] == ["4,200", "0.75"]
    assert "matches" not in table(run(sample()))


def test_what_syncs_said_is_told() -> None:
    found = with_counted(messages=4_500, sent=120_000_000, received=95_000_000)
    head, row = table(run(found, scenario="sync-1m")).splitlines()[1:3]
    assert "RSS MB  rounds/op  KB sent/op  KB received/op  cores" in head
    assert row.split()[6:10] == ["4.5", "120", "95", "0.75"]
    assert "rounds" not in table(run(sample()))


def with_counted(**fields: int) -> Sample:
    counted = sample().counted
    assert counted is not None
    return msgspec.structs.replace(sample(), counted=msgspec.structs.replace(counted, **fields))


def test_bars_are_told_in_the_table_and_at_the_end() -> None:
    found = run(sample(), verdicts=(REACHED, MISSED, UNKNOWN))
    expected = ["bar: one: 1, reached", "bar: two: 1,234, NOT REACHED", "bar: three: not measured"]
    assert [line.strip() for line in table(found).splitlines()][-3:] == expected
    results = Results(versions={}, scale=1, rounds=1, runs=[found])
    lines = summary(results).splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines[1:4]] == expected
    assert lines[-1] == "1 of 3 reached, 1 not measured"
    assert "mean nothing" not in lines[0]


def test_a_trial_is_called_one() -> None:
    assert "mean nothing" in summary(Results(versions={}, scale=0.1, rounds=1, runs=[]))


def test_results_survive_their_file(tmp_path: Path) -> None:
    results = Results(versions={"python": "3"}, scale=1, rounds=1, runs=[run(sample(), verdicts=(REACHED, UNKNOWN))])
    save(results, tmp_path / "new" / "results.json")
    assert load(tmp_path / "new" / "results.json") == results


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.123"), (12.34, "12.3"), (123.4, "123"), (12345, "12,345"), (0, "0")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
