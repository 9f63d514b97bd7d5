"""The commands of docs/import.md, run as they stand there by a shell, with the real program in the name's place."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.support.keys import ALICE, BOB, NOW
from tests.support.page_blocks import give, shell_blocks, typed
from tests.support.program import finished
from trio_relay.compressed import open_zstd_writer
from trio_relay.nostr import event

pytestmark = pytest.mark.slow

BLOCKS = [*shell_blocks("docs/import.md", "Import"), *shell_blocks("docs/import.md", "Going on")]
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
EVENTS = [author.event(f"{n}", created_at=NOW + n) for n in range(200) for author in (ALICE, BOB)]
LINES = [event.encode(one) for one in EVENTS]
FRIED = [
    line[:-1] + b',"fried":"%b"}' % (event.id + event.pubkey).encode()
    for line, event in zip(LINES, EVENTS, strict=True)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the page's files lie; in `bin` are its programs: ours is real, the others write what those write."""
    lines = b"\n".join(LINES) + b"\n"
    (tmp_path / "relay.toml").write_text("")
    (tmp_path / "events.jsonl").write_bytes(lines)
    with (tmp_path / "events.jsonl.zst").open("wb") as file, open_zstd_writer(file) as writer:
        writer.write(lines)
    (tmp_path / "fried").write_bytes(b"\n".join(FRIED) + b"\n")
    give(tmp_path, "zstdcat", f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{_ZSTDCAT}" "$1"\n')
    give(tmp_path, "strfry", "#!/bin/sh\nexec cat fried\n")
    give(tmp_path, "nak", "#!/bin/sh\nexec cat events.jsonl\n")
    return tmp_path


_ZSTDCAT = (
    "import sys; from trio_relay.compressed import open_zstd_reader as opened;"
    " sys.stdout.buffer.write(opened(open(sys.argv[1], 'rb')).read())"
)


async def test_each_command_of_the_page_brings_the_same_events(folder: Path, store_settings: dict[str, str]) -> None:
    counts = set()
    for command in COMMANDS:
        done = await typed(folder, command, store_settings)
        assert (done.returncode, done.stderr) == (0, b""), command
        counts.add(done.stdout)
    assert counts == {
        b"400 events: 400 stored, 0 known, 0 superseded, 0 ephemeral, 0 gone, 0 refused\n",
        b"400 events: 0 stored, 400 known, 0 superseded, 0 ephemeral, 0 gone, 0 refused\n",
    }
    assert len(COMMANDS) == 6
    exported = await finished(folder, "export", "-", settings=store_settings)
    assert sorted(exported.stdout.splitlines()) == sorted(LINES)
