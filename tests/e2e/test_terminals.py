"""What the real program shows on terminals that can do little, and where there is none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.event_lines import jsonl
from tests.support.keys import ALICE
from tests.support.program import finished
from tests.support.terminal import COLUMNS, on_terminal

pytestmark = pytest.mark.slow

SHOWING = [["--help"], ["stats"], ["trends"], ["why", '{"kinds":[1]}'], ["check"], ["export", "out.jsonl"], ["query"]]
PLAIN = {"NO_COLOR": "1"}, {"TERM": "dumb"}
COLOUR = re.compile(r"\x1b\[[\d;]*[1-9]\d*m")


async def filled(folder: Path) -> None:
    """Have a store of some events there."""
    events = [ALICE.event(f"{number} {'word ' * 40}", tags=[["t", "a" * 70]]) for number in range(20)]
    assert (await finished(folder, "import", stdin=jsonl(events))).returncode == 0


@pytest.mark.parametrize("variables", PLAIN, ids=["no colour", "dumb"])
async def test_a_terminal_without_colours_is_shown_none_and_lines_that_fit(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    await filled(tmp_path)
    for arguments in SHOWING:
        async with on_terminal(tmp_path, *arguments, variables=variables) as window:
            await window.ends()
        assert COLOUR.search(window.written) is None, arguments
        assert "TERM" not in variables or "\x1b" not in window.written, arguments
        lines = [line.rstrip() for line in re.split(r"[\r\n]+", window.shown)]
        assert [line for line in lines if len(line) > COLUMNS] == [], arguments


@pytest.mark.parametrize("variables", PLAIN, ids=["no colour", "dumb"])
async def test_the_log_of_a_relay_there_has_no_colours_either(tmp_path: Path, variables: dict[str, str]) -> None:
    async with on_terminal(tmp_path, variables=variables) as window:
        await window.shows("listening on ")
        await window.type("\x03")
        assert await window.ends() == 0
    assert "stopping" in window.shown
    assert "\x1b" not in window.written


async def test_a_pipe_gets_no_codes_at_all(tmp_path: Path) -> None:
    await filled(tmp_path)
    for arguments in SHOWING:
        ended = await finished(tmp_path, *arguments)
        assert b"\x1b" not in ended.stdout + ended.stderr, arguments
