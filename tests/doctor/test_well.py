"""A relay that is well is told so, and nothing of what doctor does stays."""

from __future__ import annotations

import re
import signal
from functools import partial
from pathlib import Path

import pytest

from tests.doctor.clinic import AMBIENT, doctor, over_tls, sound, trusting
from tests.support.authority import authority
from tests.support.crew import TWO
from tests.support.keys import ALICE
from tests.support.page_blocks import shell_blocks, typed
from tests.support.program import finished, running

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("processes", [{}, TWO], ids=["one process", "two workers"])
async def test_a_relay_that_is_well_is_told_so(tmp_path: Path, processes: dict[str, str]) -> None:
    settings = sound(tmp_path) | processes
    async with running(tmp_path, settings):
        told = await doctor(tmp_path, settings)
    assert (told.codes, told.code, told.healthy) == (set(), 0, True)
    assert "EVENT and back" in told.facts


async def test_so_is_one_that_speaks_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trusting(tmp_path, monkeypatch)
    settings = over_tls(tmp_path, authority().issue_cert("localhost"))
    async with running(tmp_path, settings):
        told = await doctor(tmp_path, settings)
    assert (told.codes, told.code, told.healthy) == (set(), 0, True)
    assert re.search(r"wss://localhost:\d+/: REQ \d+ ms, EVENT and back \d+ ms", told.facts)


async def test_one_that_is_stopped_is_looked_at_without_being_changed(tmp_path: Path) -> None:
    settings = sound(tmp_path)
    async with running(tmp_path, settings) as program:
        program.signal(signal.SIGTERM)
        assert await program.wait() == 0
    before = _files(tmp_path)
    told = await doctor(tmp_path, settings)
    assert (told.codes, told.code, told.healthy) == ({"not-running"}, 0, True)
    assert "left out: the relay does not run" in told.facts
    assert _files(tmp_path) == before


def _files(folder: Path) -> dict[str, int]:
    """All files, and when each was changed last."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


async def test_nothing_of_the_round_trip_stays(tmp_path: Path) -> None:
    settings = sound(tmp_path) | {"store.archive": "true"}
    query = partial(finished, tmp_path, "query", settings=settings)
    async with running(tmp_path, settings) as program:
        async with program.client() as client:
            assert (await client.publish(ALICE.event("tea")))[2] is True
        before = [(await query("{}")).stdout, (await query("--archive", "{}")).stdout]
        assert before[0].count(b"\n") == 1
        names = set(_files(tmp_path))
        told = await doctor(tmp_path, settings)
        assert "EVENT and back" in told.facts
        assert [(await query("{}")).stdout, (await query("--archive", "{}")).stdout] == before
        assert set(_files(tmp_path)) == names


async def test_the_command_of_the_page_comes_to_a_verdict(tmp_path: Path) -> None:
    [line] = shell_blocks("docs/doctor.md", "Doctor")
    (tmp_path / "relay.toml").write_text("")
    settings = sound(tmp_path)
    async with running(tmp_path, settings):
        ended = await typed(tmp_path, line.replace("/etc/trio-relay/relay.toml", "relay.toml"), settings)
    verdict = {0: b"Nothing is wrong", 1: b"Something is wrong"}[ended.returncode]
    assert ended.stdout.splitlines()[-1].startswith(verdict)


async def test_it_reads_well_at_80_columns_without_colour(tmp_path: Path) -> None:
    settings = sound(tmp_path) | {"backup.every_seconds": "0"}
    async with running(tmp_path, settings):
        ended = await finished(tmp_path, "doctor", settings=settings)
    text = ended.stdout.decode()
    assert "\x1b" not in text
    assert [line for line in text.splitlines() if len(line) > 80 and " " in line.strip()] == []
    assert "  note: no-backups\n    Backups are off.\n    -> Set backup.every_seconds" in text
    assert re.search(r"^(Nothing|Something) is wrong: .*\d notes?\.$", text, re.MULTILINE)
    assert (ended.returncode == 0) is not bool(AMBIENT & {"signatures-slow"})
