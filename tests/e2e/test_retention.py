"""What is kept, by the very configuration and commands of docs/keeping.md: beside the relay, through it, without it."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from pathlib import Path
from signal import SIGTERM
from typing import Any

import pytest

from tests.support.keys import BOB
from tests.support.page_blocks import shell_blocks
from tests.support.program import MODULE, Program, finished, running
from tests.support.program_load import everything, publish_all
from trio_relay import Event
from trio_relay.nostr import event as events

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "keeping.md").read_text(encoding="utf-8")
TABLES, *_ = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in shell_blocks("docs/keeping.md", "First look, then forget") for line in block.splitlines()]
PROGRAM = [*MODULE, "--config", "relay.toml"]
DAY = 86_400
NOW = int(time.time())


def aged(days: int, number: int = 0, kind: int = 1) -> Event:
    return BOB.event(f"{kind} {number}", kind=kind, created_at=NOW - days * DAY - number)


OLD_NOTES, NOTES = [aged(91, n) for n in range(30)], [aged(89, n) for n in range(20)]
OLD_LIKES, LIKES = [aged(31, n, kind=7) for n in range(3)], [aged(1, n, kind=7) for n in range(1_005)]
PROFILE = aged(4_000, kind=0)
DELETED = aged(2)
DELETION = BOB.event(kind=5, created_at=NOW - 95 * DAY, tags=[["e", DELETED.id]])
ALL = [*OLD_NOTES, *NOTES, *OLD_LIKES, *LIKES, PROFILE]
GOING = {"2": 8, "4": 30}


@pytest.fixture
def settings(serving_settings: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Of a relay on each store, with a control line."""
    (tmp_path / "relay.toml").write_text(TABLES)
    return {**serving_settings, "control.listen": f"unix:{tmp_path}/line.sock"}


async def run(folder: Path, settings: dict[str, str], command: str, *more: str) -> dict[str, Any]:
    """What a command of the page says, as JSON."""
    program, *arguments = shlex.split(command)
    assert program == "trio-relay"
    ended = await finished(folder, *arguments, *more, "--json", settings=settings)
    assert (ended.returncode, ended.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def by_rule(found: dict[str, Any]) -> dict[str, int]:
    return {one["rule"]: one["events"] for one in found["rules"]}


async def fill(folder: Path, settings: dict[str, str], stored: list[Event]) -> None:
    """As a backup: what is too old for the rules of today comes in, too."""
    lines = b"".join(events.encode(event) + b"\n" for event in stored)
    ended = await finished(folder, "--config", "relay.toml", "import", "--backup", settings=settings, stdin=lines)
    assert ended.returncode == 0, ended.stderr


async def stopped(program: Program) -> None:
    program.signal(SIGTERM)
    assert await program.wait() == 0


def test_the_page_has_two_commands() -> None:
    assert len(COMMANDS) == 2
    assert "--dry-run" in COMMANDS[0]


async def test_what_a_dry_run_says_goes_through_the_running_relay_and_stays_away(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    dry_run, now = COMMANDS
    await fill(tmp_path, settings, ALL)
    async with running(tmp_path, settings, command=PROGRAM) as program, program.client() as client:
        told = await run(tmp_path, settings, dry_run)
        assert (told["dry_run"], by_rule(told), told["events"]) == (True, GOING, 38)
        assert {event["id"] for event in await everything(client)} == {event.id for event in ALL}
        made = await run(tmp_path, settings, now)
        assert (made["dry_run"], by_rule(made)) == (False, GOING)
        gone = {event.id for event in [*OLD_NOTES, *OLD_LIKES, *LIKES[1_000:]]}
        assert {event["id"] for event in await everything(client)} == {event.id for event in ALL} - gone
        answers = await publish_all(client, [OLD_NOTES[0], OLD_LIKES[0], NOTES[0]])
        assert answers[OLD_NOTES[0].id][1].startswith("invalid: this relay keeps kind 1 for 90 days")
        assert answers[OLD_LIKES[0].id][1].startswith("invalid: this relay keeps kind 7 for 30 days")
        assert answers[NOTES[0].id][0] is True
        assert by_rule(await run(tmp_path, settings, dry_run)) == {}
        await stopped(program)


async def test_where_no_relay_runs_the_command_makes_a_round_itself(tmp_path: Path, settings: dict[str, str]) -> None:
    _, now = COMMANDS
    await fill(tmp_path, settings, [*ALL, DELETION])
    assert by_rule(await run(tmp_path, settings, now)) == GOING
    assert by_rule(await run(tmp_path, settings, now)) == {}


async def test_what_had_no_more_room_is_refused_by_whichever_worker(tmp_path: Path, settings: dict[str, str]) -> None:
    (tmp_path / "relay.toml").write_text("[[retention]]\nkinds = [1]\nmax_events = 40\n")
    await fill(tmp_path, settings, ALL)
    async with running(tmp_path, settings, command=PROGRAM) as program, program.client() as client:
        assert by_rule(await run(tmp_path, settings, COMMANDS[1])) == {"1": 10}
        answers = await publish_all(client, [OLD_NOTES[-1], aged(0)])
        said = "invalid: this relay has no more room for kind 1 that is so old (retention.max_events)"
        assert answers[OLD_NOTES[-1].id] == (False, said)
        assert answers[aged(0).id] == (True, "")
        await stopped(program)


async def test_the_relay_makes_its_rounds_by_itself(tmp_path: Path, settings: dict[str, str]) -> None:
    often = {**settings, "store.retention_seconds": "1"}
    await fill(tmp_path, settings, ALL)
    async with running(tmp_path, often, command=PROGRAM) as program:
        await program.until(lambda log: any(line["event"] == "forgotten by retention" for line in log))
        (line,) = [line for line in program.log if line["event"] == "forgotten by retention"]
        assert line["events"] == GOING
        await stopped(program)


async def test_what_cannot_be_done_is_told_in_a_line(tmp_path: Path) -> None:
    ended = await finished(tmp_path, "retention", "--dry-run")
    assert ended.returncode == 2
    assert ended.stderr.decode().startswith("trio-relay: no rule lets anything go")
    settings = {"control.listen": "off", "store.max_events": "5"}
    async with running(tmp_path, settings) as program:
        ended = await finished(tmp_path, "retention", settings=settings)
        assert ended.returncode == 3
        assert f"in use by the process with pid {program.process.pid}" in ended.stderr.decode()
        await stopped(program)


async def test_requests_that_a_rule_removed_still_bar_what_they_deleted(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    (tmp_path / "relay.toml").write_text("[[retention]]\nmax_age_seconds = 864000\n")
    await fill(tmp_path, settings, [DELETED, DELETION])
    assert by_rule(await run(tmp_path, settings, COMMANDS[1])) == {"1": 1}
    async with running(tmp_path, settings, command=PROGRAM) as program, program.client() as client:
        answers = await publish_all(client, [DELETED])
        assert answers[DELETED.id][0] is False
        assert await everything(client) == []
        await stopped(program)


@pytest.mark.parametrize("arguments", [["retention"], ["retention", "--dry-run"], ["backup"], ["compact"]])
async def test_in_a_folder_without_a_store_none_is_made(tmp_path: Path, arguments: list[str]) -> None:
    """Paths are relative to where a command is given, which may be the wrong folder."""
    ended = await finished(tmp_path, *arguments, settings={"store.max_events": "10"})
    assert (ended.returncode, ended.stdout) == (3, b"")
    assert ended.stderr.endswith(b"trio-relay: data/relay.db does not exist\n")
    assert os.listdir(tmp_path) == []
