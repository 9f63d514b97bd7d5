"""The commands of docs/import.md, run as they stand there by a shell, with the real program in the name's place."""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import trio

from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import PATIENCE, environment, finished
from trio_relay.compressed import open_zstd_writer
from trio_relay.nostr import event

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "import.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```\n", PAGE, re.DOTALL | re.MULTILINE)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines()]
EVENTS = [author.event(f"{n}", created_at=NOW + n) for n in range(200) for author in (ALICE, BOB)]
LINES = [event.encode(one) for one in EVENTS]
FRIED = [
    line[:-1] + b',"fried":"%b"}' % (event.id + event.pubkey).encode()
    for line, event in zip(LINES, EVENTS, strict=True)
]


def _program(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o700)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the page's files lie; in `bin` are its programs: ours is real, the others write what those write."""
    lines = b"\n".join(LINES) + b"\n"
    (tmp_path / "relay.toml").write_text("")
    (tmp_path / "events.jsonl").write_bytes(lines)
    with (tmp_path / "events.jsonl.zst").open("wb") as file, open_zstd_writer(file) as writer:
        writer.write(lines)
    (tmp_path / "fried").write_bytes(b"\n".join(FRIED) + b"\n")
    (tmp_path / "bin").mkdir()
    _program(tmp_path / "bin", "trio-relay", f'exec {shlex.quote(sys.executable)} -m trio_relay "$@"')
    _program(tmp_path / "bin", "zstdcat", f'exec {shlex.quote(sys.executable)} -c "{_ZSTDCAT}" "$1"')
    _program(tmp_path / "bin", "strfry", "exec cat fried")
    _program(tmp_path / "bin", "nak", "exec cat events.jsonl")
    return tmp_path


_ZSTDCAT = (
    "import sys; from trio_relay.compressed import open_zstd_reader as opened;"
    " sys.stdout.buffer.write(opened(open(sys.argv[1], 'rb')).read())"
)


async def test_each_command_of_the_page_brings_the_same_events(folder: Path, store_settings: dict[str, str]) -> None:
    search = {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    counts = set()
    for command in COMMANDS:
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                command,
                shell=True,
                cwd=folder,
                env=environment(store_settings) | search,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        assert (done.returncode, done.stderr) == (0, b""), command
        counts.add(done.stdout)
    assert counts == {
        b"400 events: 400 stored, 0 known, 0 superseded, 0 ephemeral, 0 gone, 0 refused\n",
        b"400 events: 0 stored, 400 known, 0 superseded, 0 ephemeral, 0 gone, 0 refused\n",
    }
    assert len(COMMANDS) == 6
    exported = await finished(folder, "export", "-", settings=store_settings)
    assert sorted(exported.stdout.splitlines()) == sorted(LINES)
