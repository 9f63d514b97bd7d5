"""Servers in turn: in which order, how often, and what becomes of those that fail or take no part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from perf import comparing, results
from perf.__main__ import main
from perf.comparing import MOST_ATTEMPTS, compare
from perf.filling import Stores
from perf.plan import Counted
from perf.results import CLOSED, PACED, Run, Sample
from perf.scenarios import SCENARIOS, Scenario
from perf.servers import OURS, Command
from perf.yardstick import Reading

PEER, FAILING = Command("peer", "true"), Command("failing", "false")
STEADY = Reading((50.0,), (200.0,))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Who was measured, in order; nothing is started, and V is steady."""
    order: list[str] = []

    def measure(scenario: Scenario, command: Command, _stores: Stores) -> Iterator[Sample]:
        order.append(command.name)
        if command is FAILING:
            yield Sample(server=command.name, failure="out of luck")
            return
        for part, seconds in [(CLOSED, 1.0), (PACED, 2.0)] if scenario.share else [(CLOSED, 1.0)]:
            counted = Counted(operations=100, messages=100, seconds=seconds, latencies={"OK": [0.001, seconds]})
            yield Sample(server=command.name, part=part, counted=counted, cpu=0.1, rss=(1, 1))

    monkeypatch.setattr(comparing, "measure", measure)
    monkeypatch.setattr("perf.yardstick.look", lambda _rounds: STEADY)
    return order


def run(tmp_path: Path, name: str, *servers: Command, rounds: int = 2) -> tuple[Run, list[str]]:
    said: list[str] = []
    return compare(SCENARIOS[name], servers, rounds, Stores(tmp_path, said.append), {}, said.append), said


def test_servers_take_turns_in_every_round(tmp_path: Path, measured: list[str]) -> None:
    found, said = run(tmp_path, "id", OURS, PEER)
    assert measured == ["trio-relay", "peer", "trio-relay", "peer"]
    assert [(sample.server, sample.round) for sample in found.samples] == [
        ("trio-relay", 1),
        ("peer", 1),
        ("trio-relay", 2),
        ("peer", 2),
    ]
    assert len(said) == 4
    assert found.attempts == 1


def test_who_fails_is_told_and_has_no_further_round(tmp_path: Path, measured: list[str]) -> None:
    found, said = run(tmp_path, "id", OURS, FAILING, PEER)
    assert measured == ["trio-relay", "failing", "peer", "trio-relay", "peer"]
    assert found.failed == {"failing": "out of luck"}
    assert [row.server for row in found.figures] == ["trio-relay", "peer"]
    assert any("failing" in line and "failed: out of luck" in line for line in said)


def test_peers_take_no_part_where_the_store_is_filled_for_ours(tmp_path: Path, measured: list[str]) -> None:
    found, _ = run(tmp_path, "id-1m", OURS, PEER)
    assert set(measured) == {"trio-relay"}
    assert set(found.skipped) == {"peer"}


def test_on_opensearch_a_bare_loop_takes_turns_in_place_of_peers(tmp_path: Path, measured: list[str]) -> None:
    found, _ = run(tmp_path, "os-ingest", OURS, PEER)
    assert measured == ["trio-relay", "bare loop", "trio-relay", "bare loop"]
    assert found.skipped == {"peer": "has no OpenSearch behind it"}
    assert [(verdict.value, verdict.is_reached) for verdict in found.verdicts] == [(1, True)]


def test_a_bare_loop_has_no_part_in_requests(tmp_path: Path, measured: list[str]) -> None:
    run(tmp_path, "os-id", OURS, PEER, rounds=1)
    assert measured == ["trio-relay"]


def test_bars_are_for_the_last_part(tmp_path: Path, measured: list[str]) -> None:
    (verdict,) = run(tmp_path, "half", OURS)[0].verdicts
    assert measured
    assert verdict.value == 2_000


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize(("steady_at", "attempts"), [(1, 1), (2, 2), (3, 3), (9, MOST_ATTEMPTS)])
def test_an_unsteady_run_is_repeated_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steady_at: int, attempts: int
) -> None:
    drifting = iter([50.0, 60.0] * (steady_at - 1))
    monkeypatch.setattr("perf.yardstick.look", lambda _rounds: Reading((next(drifting, 50.0),), (200.0,)))
    found, said = run(tmp_path, "id", OURS, rounds=1)
    assert found.attempts == attempts
    assert sum("V has moved by 20%" in line for line in said) == min(steady_at - 1, MOST_ATTEMPTS)
    assert len(found.samples) == 1


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_scenarios_are_listed() -> None:
    result = command("list")
    assert [line.split()[0] for line in result.output.splitlines()] == list(SCENARIOS)


def test_an_unknown_scenario_is_refused_with_those_that_there_are() -> None:
    result = command("ingest", "digest")
    assert result.exit_code == 2
    assert "no scenario digest; there are ingest, ingest-plain, ingest-policy" in result.output


def test_micro_benchmarks_get_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("perf.micro.main", asked.append)
    assert command("micro", "redis", "delivery").exit_code == 0
    assert [list(names) for names in asked] == [["redis", "delivery"]]  # type: ignore[call-overload]


@pytest.mark.slow
def test_a_whole_comparison_says_what_it_could_not_do_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers, file = tmp_path / "peers.toml", tmp_path / "results.json"
    peers.write_text("[absent]\ncommand = 'no-such-relay-anywhere {port}'\n[broken]\ncommand = 'ls {folder}/nothing'\n")
    monkeypatch.setattr("perf.yardstick.look", lambda _rounds: STEADY)
    result = command("--scale", 0.001, "--rounds", 1, "--peers", peers, "--json", file, "ingest")
    assert result.exit_code == 0, result.output
    assert "absent: skipped, it is not installed" in result.output
    assert "broken: failed: it doesn't start: " in result.output
    assert "mean nothing" in result.output
    found = results.load(file)
    assert [found_run.scenario for found_run in found.runs] == ["ingest"]
    assert [[row.server for row in found_run.figures] for found_run in found.runs] == [["trio-relay"]]
    assert all(found_run.failed.keys() == {"broken"} for found_run in found.runs)
    assert {"python", "trio", "trio-relay", "platform"} <= found.versions.keys()


@pytest.mark.picture
def test_a_picture_shows_who_was_measured(tmp_path: Path, measured: list[str]) -> None:
    pytest.importorskip("matplotlib")
    from perf.picture import draw

    runs = [run(tmp_path, name, OURS, PEER)[0] for name in ("ingest", "half", "id-1m")]
    assert measured
    found = results.Results(versions={}, scale=1, rounds=2, runs=runs)
    draw(found, tmp_path / "images" / "perf.svg")
    once = (tmp_path / "images" / "perf.svg").read_bytes()
    assert once.startswith(b"<?xml")
    for text in (b"ingest", b"half, 50% load", b"id-1m", b"trio-relay", b"peer", b"strfry (reference)"):
        assert b"<!-- " + text + b" -->" in once
    draw(found, tmp_path / "images" / "perf.svg")
    assert (tmp_path / "images" / "perf.svg").read_bytes() == once
