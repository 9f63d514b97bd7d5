"""The alert rules: each is sound, asks for what a relay tells, has an example, and a section that says what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]

from docs.generate import ROOT
from tests.support.page_blocks import shell_blocks
from tests.watching.filled import labels_by_name
from tests.watching.server import RULES, needs_prometheus, promtool, selectors, started
from trio_relay.nostr import relay_info

FOLDER: Final = RULES.parent
PAGE: Final = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
ALERTS: Final[dict[str, dict[str, Any]]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
EXAMPLES: Final = yaml.safe_load((FOLDER / "trio-relay.rules.test.yml").read_text())["tests"]
TOLD: Final = labels_by_name()
each_alert = pytest.mark.parametrize("alert", ALERTS)


COMMANDS: Final = shell_blocks("docs/alerts.md", "Watching, and what each alert means")[0].splitlines()


@needs_prometheus
@pytest.mark.slow
@pytest.mark.parametrize("command", [*COMMANDS[1:-1], f"promtool check rules --lint-fatal {RULES.name}"])
def test_promtool_has_nothing_to_say(command: str) -> None:
    assert ROOT / COMMANDS[0].removeprefix("cd ") == FOLDER
    done = promtool(*command.split()[1:], folder=FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
@pytest.mark.slow
async def test_prometheus_starts_with_the_example_and_all_rules_by_the_command_of_the_page(tmp_path: Path) -> None:
    command = COMMANDS[-1].replace("/var/tmp/series", str(tmp_path)).replace("127.0.0.1:9090", "127.0.0.1:0")
    async with started(command.split(), FOLDER) as prometheus:
        groups = (await prometheus.get("rules"))["groups"]
    assert {rule["name"] for group in groups for rule in group["rules"]} == set(ALERTS)


@needs_prometheus
@pytest.mark.slow
def test_an_example_does_not_hold_for_a_rule_that_waits_a_minute_more(tmp_path: Path) -> None:
    """So each is one just above, and in time; that one just below is silent, it says itself."""
    later = re.sub(r"for: (\d+)m", lambda found: f"for: {int(found[1]) + 1}m", RULES.read_text())
    (tmp_path / RULES.name).write_text(later.replace("for: 1h", "for: 61m"))
    (tmp_path / "examples.yml").write_text((FOLDER / "trio-relay.rules.test.yml").read_text())
    done = promtool("test", "rules", "examples.yml", folder=tmp_path)
    assert set(re.findall(r'exp: \{alertname="(\w+)"', done.stdout + done.stderr)) == set(ALERTS)


def test_each_alert_has_an_example_in_its_order() -> None:
    assert [example["name"] for example in EXAMPLES] == list(ALERTS)
    for example in EXAMPLES:
        before, after = example["promql_expr_test"]
        assert before["exp_samples"] == []
        series = " ".join(one["series"] for one in example["input_series"])
        bad = dict.fromkeys(re.findall('instance="(bad[^"]*)"', series))
        assert [one["labels"] for one in after["exp_samples"]] == [
            f'{{alertname="{example["name"]}", instance="{instance}"}}' for instance in bad
        ]
        assert "bad" in bad
        assert 'instance="good"' in series


def test_examples_are_of_series_that_a_relay_has() -> None:
    for example in EXAMPLES:
        for one in example["input_series"]:
            [(name, labels)] = selectors(one["series"])
            assert labels <= TOLD[name] | {"instance", "job"}, one["series"]


@each_alert
def test_an_alert_asks_for_what_a_relay_tells(alert: str) -> None:
    rule = ALERTS[alert]
    asked = dict(selectors(rule["expr"]))
    assert asked
    known = set().union(*(TOLD[name] for name in asked), {"instance", "job"})
    for name, labels in asked.items():
        assert labels <= TOLD[name] | {"instance", "job"}, name
    grouped = re.findall(r"(?:by|without|ignoring) ?\(([^)]*)\)", rule["expr"])
    named = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
    assert {label.strip() for labels in grouped for label in labels.split(",")} <= known
    assert set(named) <= known


@each_alert
def test_an_alert_says_how_bad_it_is_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    told = rule["annotations"]
    assert told.keys() == {"summary", "description", "runbook_url"}
    assert "{{ $labels.instance }}" in told["summary"]
    assert told["runbook_url"] == f"{relay_info.SOFTWARE}/blob/main/docs/alerts.md#{alert.lower()}"


def test_the_page_has_a_section_for_each_alert_in_its_order() -> None:
    sections = re.findall(r"^## (TrioRelay\w+)\n\n(.+)$", PAGE, re.MULTILINE)
    assert [name for name, _ in sections] == list(ALERTS)
    assert all(text.endswith((".", ":")) for _, text in sections)


def test_anchors_in_the_page_are_there() -> None:
    anchors = {title.lower() for title in re.findall(r"^## (\w+)$", PAGE, re.MULTILINE)}
    assert [anchor for anchor in re.findall(r"\]\(#(\w+)\)", PAGE) if anchor not in anchors] == []
