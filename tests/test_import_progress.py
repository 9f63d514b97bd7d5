"""How far an import is, in words that are right and fit on a line."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from fcntl import ioctl
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.support.event_lines import jsonl
from tests.support.keys import ALICE
from trio_relay.cli import import_progress
from trio_relay.transfer import ImportSummary

GB = 10**9


@pytest.mark.parametrize(
    ("total", "looks", "told"),
    [
        (GB, [(0, 0, 0)], "0 events, 0% of 1.0 GB"),
        (GB, [(0, 0, 0), (10, GB // 4, 50_000)], "50,000 events, 5,000/s, 25% of 1.0 GB, 30 s left"),
        (GB, [(0, 0, 0), (10, GB // 100, 9)], "9 events, 1/s, 1% of 1.0 GB, 17 min left"),
        (GB, [(0, 0, 0), (10, GB // 1_000, 9)], "9 events, 1/s, 0% of 1.0 GB, 2 h 47 min left"),
        (GB, [(0, 0, 0), (10, GB // 2, 0)], "0 events, 50% of 1.0 GB"),  # passed over
        (GB, [(0, 0, 0), (10, 3 * GB, 9)], "9 events, 1/s, 100% of 1.0 GB, 0 s left"),  # it has grown
        (None, [(0, 0, 0), (10, GB, 9_000)], "9,000 events, 900/s, 1.0 GB"),
        # Only the last half minute counts: it began slowly.
        (
            GB,
            [(0, 0, 0), (100, 1_000, 1), (130, GB // 2 + 2_000, 30_001)],
            "30,001 events, 1,000/s, 50% of 1.0 GB, 30 s left",
        ),
    ],
)
def test_it_is_said_how_far_it_is_how_fast_it_goes_and_how_long_it_takes(
    total: int | None, looks: list[tuple[float, int, int]], told: str
) -> None:
    pace = import_progress.ImportPace(total)
    assert [pace.look(*look) for look in looks][-1] == told


@given(st.integers(1, 10**13), st.lists(st.tuples(st.floats(0.5, 60), st.integers(0, 10**9), st.integers(0, 10**6))))
def test_it_fits_on_a_line_of_eighty_characters(total: int, steps: list[tuple[float, int, int]]) -> None:
    pace = import_progress.ImportPace(total)
    time, size, events = 0.0, 0, 0
    for seconds, more, others in steps:
        time, size, events = time + seconds, size + more, events + others
        assert len(f"importing: {pace.look(time, size, events)}") < 80


async def _beside(seconds: float, capsys: pytest.CaptureFixture[str], *, is_quiet: bool = False) -> list[str]:
    """What is told of an import of 1,000 bytes a second, and ten events in each, never at a full second."""
    summary = ImportSummary()
    progress = import_progress.ImportProgress(summary, is_quiet=is_quiet)
    progress.expect(round(1_000 * seconds))

    async def work() -> None:
        await trio.sleep(0.5)
        for _ in range(round(seconds)):
            await trio.sleep(1)
            progress.advance(1_000)
            summary.counts["stored"] += 10

    await progress.beside(work)
    told = capsys.readouterr()
    assert told.out == ""
    return told.err.splitlines()


async def test_without_a_terminal_there_is_a_line_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], autojump_clock: object
) -> None:
    assert await _beside(25, capsys) == [
        "importing: 90 events, 9/s, 36% of 25.0 kB, 18 s left",
        "importing: 190 events, 10/s, 76% of 25.0 kB, 7 s left",
        "importing: 250 events in 26 s, 10/s",
    ]


async def test_what_is_short_or_quiet_says_nothing(capsys: pytest.CaptureFixture[str], autojump_clock: object) -> None:
    assert await _beside(9, capsys) == []
    assert await _beside(60, capsys, is_quiet=True) == []


async def test_an_import_that_fails_is_not_told_as_done(
    capsys: pytest.CaptureFixture[str], autojump_clock: object
) -> None:
    async def work() -> None:
        await trio.sleep(15)
        raise OSError

    with pytest.raises(ExceptionGroup):
        await import_progress.ImportProgress(ImportSummary(), is_quiet=False).beside(work)
    assert capsys.readouterr().err == "importing: 0 events, 0 bytes\n"


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["", "no colour", "dumb"])
def test_a_terminal_of_eighty_columns_has_one_line_of_it(tmp_path: Path, more: dict[str, str]) -> None:
    lines = jsonl(ALICE.event(f"{number}") for number in range(2_000))
    (tmp_path / "in.jsonl").write_bytes(lines)
    own_end, terminal = pty.openpty()
    ioctl(terminal, TIOCSWINSZ, pack("HHHH", 24, 80, 0, 0))
    environment = os.environ | {"TRIO_RELAY_STORE__PATH": "relay.db", "TERM": "xterm"} | more
    command = [sys.executable, "-m", "trio_relay", "import", "in.jsonl"]
    with subprocess.Popen(command, stderr=terminal, stdout=subprocess.PIPE, cwd=tmp_path, env=environment) as process:
        os.close(terminal)
        drawn = _read_to_end(own_end)
    assert process.returncode == 0
    if "NO_COLOR" in more:
        assert not re.search(r"\x1b\[[\d;]*[1-9]\d*m", drawn)
    shown = [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", drawn)) if line.strip()]
    assert max(map(len, shown)) <= 80
    assert re.fullmatch(r"importing .* 2,000 events in \d+ s, [\d,]+/s\s*", shown[-1])


def _read_to_end(descriptor: int) -> str:
    """What a program writes to its terminal; a full one would hold it up."""
    drawn = b""
    try:
        while more := os.read(descriptor, 65_536):
            drawn += more
    except OSError:  # which is how the end of a terminal is told
        pass
    os.close(descriptor)
    return drawn.decode()
