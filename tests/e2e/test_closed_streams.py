"""A relay without a terminal: started with standard streams that are closed, and left by who read them."""

from __future__ import annotations

import os
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.support.event_lines import jsonl
from tests.support.keys import ALICE
from tests.support.program import MODULE, finished, running

pytestmark = pytest.mark.slow

CLOSED = ("sh", "-c", 'exec "$0" "$@" <&- 2>&-', *MODULE)
LEFT = ("sh", "-c", 'exec "$0" "$@" 2>log', *MODULE)
LOUD = {"log.level": "debug"}


async def test_it_serves_without_standard_input_and_error(tmp_path: Path, processes: dict[str, str]) -> None:
    async with running(tmp_path, {**LOUD, **processes}, command=CLOSED) as program:
        async with program.client() as client:
            note = ALICE.event("note")
            assert await client.publish(note) == ["OK", note.id, True, ""]
        program.signal(SIGTERM)
        assert await program.wait() == 0


async def test_it_goes_on_when_nobody_reads_its_log_any_more(tmp_path: Path, processes: dict[str, str]) -> None:
    """Each connection is a line of the log here."""
    os.mkfifo(tmp_path / "log")
    reader = os.open(tmp_path / "log", os.O_RDONLY | os.O_NONBLOCK)
    async with running(tmp_path, {**LOUD, **processes}, command=LEFT) as program:
        os.close(reader)
        for number in range(3):
            async with program.client() as client:
                note = ALICE.event(f"{number}")
                assert await client.publish(note) == ["OK", note.id, True, ""]
        program.signal(SIGTERM)
        assert await program.wait() == 0


async def test_every_command_runs_without_any_of_them(tmp_path: Path) -> None:
    """As a service starts it: what is read there is nothing, and what is written there goes nowhere."""
    (tmp_path / "events.jsonl").write_bytes(jsonl([ALICE.event("note")]))
    for arguments in (["import", "-"], ["import", "events.jsonl"], ["export"], ["export", "out.jsonl"]):
        ended = await finished(tmp_path, *arguments, command=("sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', *MODULE))
        assert ended.returncode == 0, arguments
    assert (tmp_path / "out.jsonl").read_bytes() == jsonl([ALICE.event("note")])
