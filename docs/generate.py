"""Writes the pages that come from the code: `python -m docs.generate`; a test fails when one of them is out of date."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Final

import click
import msgspec
import trio
from prometheus_client.metrics_core import Metric

from docs.dashboard import dashboard_file
from docs.doctor_page import doctor_page
from docs.manual_page import manual_page
from trio_relay import Endpoints, MemoryStore, NetOptions, Server, open_relay
from trio_relay.backup import BackupStatistics
from trio_relay.backup.regular import BackupCollector
from trio_relay.cli import main as command
from trio_relay.cli.leaving import EXITS, MEANINGS
from trio_relay.config import Setting, settings
from trio_relay.config_tables import LISTED, options_of
from trio_relay.live_settings import FIXED
from trio_relay.loop_lag import LoopLag
from trio_relay.metrics import MetricsPage, OperationCollector, ProcessFigures, WorkersFigures
from trio_relay.store.base import CacheStatistics, NoteStatistics, SharingStatistics, StoreStatistics

ROOT = Path(__file__).resolve().parent.parent
GENERATED = "<!-- Written by `make docs` from the code; change it there. -->"


def pages() -> dict[Path, str]:
    """Every generated file with its text."""
    return {
        ROOT / "config" / "relay.toml": sample_file(),
        ROOT / "docs" / "configuration.md": configuration_page(),
        ROOT / "docs" / "cli.md": cli_page(),
        ROOT / "docs" / "metrics.md": metrics_page(),
        ROOT / "deploy" / "grafana" / "trio-relay.json": dashboard_file(),
        ROOT / "docs" / "doctor.md": doctor_page(GENERATED),
        ROOT / "docs" / "trio-relay.1": manual_page(command, released()),
    }


def released() -> str:
    """The date of the newest version in the CHANGELOG."""
    found = re.search(
        r"^## \[.+\] - (\d{4}-\d\d-\d\d)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert found is not None
    return found[1]


def sample_file() -> str:
    """`config/relay.toml`: every key with its default, so that a relay started with it is one started without."""
    lines = ["# Every setting of trio-relay with its default. A key that is left out has its default too."]
    for section, group in groupby(settings(), key=lambda setting: setting.section):
        lines += ["", f"# {_summary(section)}", f"# [[{section}]]" if section in LISTED else f"[{section}]"]
        for setting in group:
            facts = ", ".join(filter(None, [setting.unit, setting.bounds]))
            lines.append(f"# {setting.description}" + (f" [{facts}]" if facts else ""))
            lines += [f"# Left out, it is {setting.left_out}:"] if setting.left_out else []
            is_comment = setting.left_out or setting.is_listed
            lines.append(f"{'# ' if is_comment else ''}{setting.key} = {_toml(setting.default)}")
    return "\n".join(lines) + "\n"


def configuration_page() -> str:
    """`docs/configuration.md`."""
    lines = [
        "# Configuration",
        "",
        GENERATED,
        "",
        "`trio-relay --config FILE` reads one TOML file; without it, and for every key that it leaves out, the defaults hold.",
        "`TRIO_RELAY_CONFIG` names the file for commands that are not told of one.",
        "An unknown key, a wrong type or an impossible value stops the start with the key's name, the reason and the nearest known key.",
        "`trio-relay check-config --config FILE` does only that check.",
        "",
        "An environment variable overrides its key, in the file or not: `TRIO_RELAY_<TABLE>__<KEY>`, in capitals, with two underscores between table and key.",
        "Where the setting is a text, so is the variable's, whatever it looks like: a password of digits needs no quotes (and those around the whole are taken off).",
        "Where it is true or false, `yes`, `no`, `on`, `off`, `1` and `0` will do, too. All else is written as in TOML: `300`, `0.5`, `'[\"0.0.0.0:7777\"]'`.",
        "A variable that is empty is an empty text, and an error where no text is due.",
        "",
        "What changes at once does so in a running relay that [reads its configuration again](reloading.md), and what changes with a restart waits for its next start.",
    ]
    for section, group in groupby(settings(), key=lambda setting: setting.section):
        title, note = (f"[[{section}]]", _LISTED_NOTE) if section in LISTED else (f"[{section}]", "")
        lines += ["", f"## {title}", "", _summary(section), "", *([note, ""] if note else [])]
        lines += ["| key | default | unit, bounds | meaning | changes | variable |", "|---|---|---|---|---|---|"]
        lines += [_row(setting) for setting in group]
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """`docs/cli.md`, from the commands' own help."""
    lines = ["# Command line", "", GENERATED, "", *_exit_codes()]
    for name, one in _commands(command, "trio-relay"):
        with click.Context(one, info_name=name) as context:
            context.max_content_width = 100
            lines += ["", f"## {name}", "", "```text", one.get_help(context), "```"]
    return "\n".join(lines) + "\n"


def _exit_codes() -> list[str]:
    lines = ["## Exit codes", "", "| code | means |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in MEANINGS.items()]
    lines += [
        "",
        "Beside 0, 2 and 130, with which every command may end:",
        "",
        "| command | 1 | 3 | 4 |",
        "|---|---|---|---|",
    ]
    for name, exits in EXITS.items():
        marks = ["yes" if code in exits.codes else "no" for code in (3, 4)]
        lines.append(f"| `{f'trio-relay {name}'.strip()}` | {exits.failed} | {' | '.join(marks)} |")
    return [*lines, "", "What is wrong is one line on standard error; a traceback is a fault of the program."]


def metrics_page() -> str:
    """`docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        GENERATED,
        "",
        "`GET /metrics` on the address `metrics.listen`, in Prometheus' text format.",
        "Counters end in `_total`; histograms have `_bucket`, `_sum` and `_count`.",
        "A dashboard and alerts are made of them: [alerts.md](alerts.md).",
        "",
        "| name | type | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{one.name}` | {one.type} | {one.documentation} |" for one in trio.run(_metrics)]
    lines += [
        "",
        "Where several workers are one relay, these are the sums of all of them, those that have ended too; a channel's"
        " peak is that of the worker where most has waited, and the store is the keeper's.",
        "`trio_relay_worker_…` are of the worker that the label `worker` tells by its number, and of the keeper. A worker"
        " that is started anew counts from 0 there. They are missing where the relay is one process.",
    ]
    return "\n".join(lines) + "\n"


async def _metrics() -> list[Metric]:
    async with open_relay(MemoryStore()) as relay:
        server = Server(relay, Endpoints(relay.document, relay.check, ""), NetOptions())
        figures = WorkersFigures(ProcessFigures("keeper", 0.0, 0, 0.0), (), 0, 0)
        shown = replace(relay.statistics(), store=_WITH_ALL)
        net = replace(server.statistics(), loop_lag=LoopLag().statistics())
        page = MetricsPage(lambda: (shown, net), lambda: figures)
        page.add(OperationCollector(lambda: None, dict))
        page.add(BackupCollector(BackupStatistics))
        return page.families()


_WITH_ALL: Final = StoreStatistics(
    "any",
    cache=CacheStatistics(events=0, bytes=0, hits=0, misses=0),
    sharing=SharingStatistics({}, 0.0, NoteStatistics(is_connected=True, sent=0, heard=0, dropped=0, gaps=0)),
    free_bytes=0,
    failed_requests={},
)


def _commands(one: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, one
    if isinstance(one, click.Group):
        for part in sorted(one.commands):
            yield from _commands(one.commands[part], f"{name} {part}")


def _summary(section: str) -> str:
    """The first line of the options' docstring."""
    return str(options_of(section).__doc__).split("\n")[0]


_LISTED_NOTE: Final = (
    "There may be several of these tables, and none by default. The variable takes the place of all of them, as a list"
    " of tables in TOML."
)


def _row(setting: Setting) -> str:
    facts = ", ".join(filter(None, [setting.unit, setting.bounds])).replace("|", "\\|")
    default = f"`{_toml(setting.default)}`" + (", a [share](#memory)" if setting.is_share else "")
    if setting.default is msgspec.NODEFAULT:
        default = "must be given"
    changes = "with a restart" if f"{setting.section}.{setting.key}" in FIXED else "at once"
    return f"| `{setting.key}` | {default} | {facts} | {setting.description} | {changes} | `{setting.environment}` |"


def _toml(value: object) -> str:
    if value is msgspec.NODEFAULT:
        return '"…"'
    return json.dumps(list(value) if isinstance(value, tuple) else value)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
