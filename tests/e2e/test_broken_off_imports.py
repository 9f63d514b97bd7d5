"""An import that is killed, or stopped by Ctrl-C, goes on with --resume, and nothing is missing in the end."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.event_lines import jsonl
from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import PATIENCE, environment, finished, launcher
from trio_relay.compressed import open_zstd_writer

pytestmark = pytest.mark.slow

EVENTS = [author.event(f"{n}", created_at=NOW + n) for n in range(3_000) for author in (ALICE, BOB)]
LINES = b"not JSON\n" + jsonl(EVENTS)

OFTEN = """
import os, signal
from trio_relay import importing, resuming
from trio_relay.store.sqlite import batch_writer
importing._VERIFY_BATCH = importing._WRITE_BATCH = 200
resuming.SECONDS_BETWEEN_NOTES = 0.01
save, write = batch_writer.BatchWriter.save, resuming.written_whole
commits = 0
def end():
    os.kill(os.getpid(), signal.SIGKILL)
"""
PLACES = {
    "before a commit": """
def saving(self, batch):
    global commits
    commits += 1
    if commits == 3:
        end()
    return save(self, batch)
batch_writer.BatchWriter.save = saving
""",
    "before the answers to a commit": """
def saving(self, batch):
    global commits
    commits += 1
    saved = save(self, batch)
    if commits == 7:
        end()
    return saved
batch_writer.BatchWriter.save = saving
""",
    "once it is noted": """
def writing(self, passed, held, note=resuming.Bookmark._write):
    note(self, passed, held)
    if passed.line > 1_500:
        end()
resuming.Bookmark._write = writing
""",
    "while it is noted": """
from contextlib import contextmanager
@contextmanager
def writing(path):
    global commits
    with write(path) as file:
        yield file
        commits += 1
        if commits == 3:
            end()
resuming.written_whole = writing
""",
}


def zstd(data: bytes) -> bytes:
    file = io.BytesIO()
    with open_zstd_writer(file) as writer:
        writer.write(data)
    return file.getvalue()


@pytest.mark.parametrize(("name", "pack"), [("in.jsonl", bytes), ("in.jsonl.zst", zstd)])
async def test_one_that_is_killed_again_and_again_has_the_same_store_in_the_end(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / name).write_bytes(pack(LINES))
    for place in PLACES.values():
        killed = await finished(tmp_path, "import", "--resume", name, command=launcher(OFTEN + place))
        assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, b"")
    assert (tmp_path / f"{name}.resume").exists()
    ended = await finished(tmp_path, "import", "--resume", name)
    first, passed_over, refused = ended.stdout.decode().splitlines()
    refusal = b"trio-relay: not all lines were taken (--lenient: that is no failure)\n"  # as without the kills
    assert (ended.returncode, ended.stderr, refused) == (1, refusal, "  1 of these lines were refused before")
    line = int(passed_over.removeprefix("  up to line ").removesuffix(" all had been answered before"))
    assert line > 1_500
    assert first.startswith(f"{len(EVENTS) + 1 - line} events: ")
    assert (await finished(tmp_path, "export", "-")).stdout == LINES.removeprefix(b"not JSON\n")
    assert sorted(os.listdir(tmp_path)) == ["data", name]


async def test_after_ctrl_c_it_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    seldom = (OFTEN + PLACES["before the answers to a commit"]).replace("0.01", "3600").replace("SIGKILL", "SIGINT")
    stopped = await finished(tmp_path, "import", "in.jsonl", command=launcher(seldom))
    said = b"trio-relay: interrupted; what came before is imported, and --resume goes on behind that\n"
    assert (stopped.returncode, stopped.stderr) == (130, said)
    assert b" stored, 0 known, " in stopped.stdout.splitlines()[0]
    assert b"  1 refused: the line is no JSON that can be read (line 1)" in stopped.stdout.splitlines()
    assert (tmp_path / "in.jsonl.resume").exists()
    ended = await finished(tmp_path, "import", "--resume", "--lenient", "in.jsonl")
    assert b"all had been answered before" in ended.stdout
    assert (await finished(tmp_path, "export", "-")).stdout == LINES.removeprefix(b"not JSON\n")


async def test_one_whose_store_has_failed_goes_on_before_the_failure(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    failing = PLACES["before a commit"].replace("end()", "import apsw; raise apsw.FullError")
    failed = await finished(tmp_path, "import", "in.jsonl", command=launcher(OFTEN + failing))
    assert failed.returncode == 1
    assert failed.stderr.endswith(b"trio-relay: the store failed; --resume takes up again what it did not take\n")
    ended = await finished(tmp_path, "import", "--resume", "--lenient", "in.jsonl")
    assert ended.returncode == 0
    assert b" 0 refused" in ended.stdout
    exported = (await finished(tmp_path, "export", "-")).stdout
    assert sorted(exported.splitlines()) == sorted(LINES.splitlines()[1:])


async def test_what_cannot_be_gone_on_with_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    await finished(tmp_path, "import", "in.jsonl", command=launcher(OFTEN + PLACES["once it is noted"]))
    exported = (await finished(tmp_path, "export", "-")).stdout
    other = await finished(tmp_path, "import", "--resume", "in.jsonl", settings={"store.path": "other.db"})
    assert other.returncode == 2
    assert other.stderr.startswith(b"trio-relay: in.jsonl.resume: that import went into another store, ")
    with (tmp_path / "in.jsonl").open("ab") as file:
        file.write(b"\n")
    grown = await finished(tmp_path, "import", "--resume", "in.jsonl")
    assert (grown.returncode, grown.stderr) == (
        2,
        b"trio-relay: in.jsonl.resume: the file has changed since; without --resume the file is read from its start\n",
    )
    pipe = await finished(tmp_path, "import", "--resume", stdin=LINES)
    assert (pipe.returncode, pipe.stderr.splitlines()[-1]) == (
        2,
        b"Error: --resume needs FILE: what standard input has given cannot be read again",
    )
    assert (await finished(tmp_path, "export", "-")).stdout == exported
    again = await finished(tmp_path, "import", "--lenient", "in.jsonl")
    assert again.stdout.startswith(b"6001 events: ")
    assert not (tmp_path / "in.jsonl.resume").exists()


async def test_another_store_in_the_place_of_the_first_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(LINES)
    await finished(tmp_path, "import", "in.jsonl", command=launcher(OFTEN + PLACES["once it is noted"]))
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    ended = await finished(tmp_path, "import", "--resume", "in.jsonl")
    assert ended.returncode == 2
    assert ended.stderr.startswith(b"trio-relay: the store has none of the events that the import had brought it")


async def test_ctrl_c_ends_one_that_waits_for_a_pipe(tmp_path: Path) -> None:
    """The thread that reads cannot be stopped; it must not hold up the end, or spoil it."""
    waiting = """
import os, signal
from trio_relay import transfer
def taking(*arguments, take=transfer._take):
    os.write(2, b"reads\\n")
    return take(*arguments)
transfer._take = taking
"""
    start = partial(
        trio.run_process,
        [*launcher(waiting), "import"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    async with trio.open_nursery() as nursery:
        process = await nursery.start(start)
        with trio.fail_after(PATIENCE):
            await process.stdin.send_all(LINES.splitlines(keepends=True)[1])  # by which it sees what comes
            assert await process.stderr.receive_some() == b"reads\n"
            process.send_signal(signal.SIGINT)
            assert await process.wait() == 130
            said = b"trio-relay: interrupted; what came before is imported, and the same import can be run again\n"
            assert await process.stderr.receive_some() == said
        await process.stdin.aclose()
