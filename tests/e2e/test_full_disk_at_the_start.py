"""A disk that is full when the relay starts: the exit text and the log name the cause, and the file is as it was."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import apsw
import msgspec
import pytest

from tests.store import version_1
from tests.support.keys import ALICE
from tests.support.program import MODULE, finished, launcher, running
from tests.support.program_load import everything
from trio_relay import Event
from trio_relay.store.sqlite import schema

pytestmark = pytest.mark.slow

EVENTS: Final[list[Event]] = [
    ALICE.event(f"{number} " + " ".join(f"w{number}x{word}" for word in range(400)), tags=[["t", "x"]])
    for number in range(300)
]
_LIMIT: Final = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
_IN_A_FULL_ONE: Final = """
mount -t tmpfs -o size={kilobytes}k tmpfs data && cp saved/* data && shift && "$@"
code=$?
cp data/relay.db* after
exit $code
"""


@pytest.fixture
def version_1_file(tmp_path: Path) -> Path:
    """A file whose upgrade writes all tables anew."""
    path = tmp_path / "saved" / "relay.db"
    path.parent.mkdir()
    version_1.write(path, enumerate(EVENTS, 1))
    return path


def _may_mount(tmp_path: Path) -> str | None:
    """Why no file system can be made here; None if one can."""
    if (unshare := shutil.which("unshare")) is None:
        return "there is no program unshare on this machine"
    command = [unshare, "--map-root-user", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)]
    tried = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # ours
    return f"no file system can be mounted here: {tried.stderr.strip()}" if tried.returncode else None


def _version(path: Path) -> int:
    connection = apsw.Connection(str(path))
    version = int(connection.pragma("user_version"))
    assert connection.execute("SELECT count(*) FROM event").get == len(EVENTS)
    assert connection.pragma("integrity_check") == "ok"
    connection.close()
    return version


async def test_on_a_full_file_system_it_is_said_that_it_is_full(version_1_file: Path, tmp_path: Path) -> None:
    """On a small file system that this process's children alone see."""
    data, after = tmp_path / "data", tmp_path / "after"
    data.mkdir()
    after.mkdir()
    if (reason := _may_mount(data)) is not None:
        pytest.skip(reason)
    script = _IN_A_FULL_ONE.format(kilobytes=_size(version_1_file) // 1024 + 300)
    ended = await finished(
        tmp_path, command=("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", "--", *MODULE)
    )
    *logged, said = ended.stderr.decode().splitlines()
    assert (ended.returncode, said) == (3, "trio-relay: data/relay.db: database or disk is full")
    told = [line for line in map(msgspec.json.decode, logged) if line["level"] == "error"]
    assert [(line["event"], line["error"]) for line in told] == [
        ("the store cannot be opened", "database or disk is full")
    ]
    assert _version(after / "relay.db") == 1


async def test_past_the_limit_of_a_files_size_it_is_said_that_writing_failed(
    version_1_file: Path, tmp_path: Path
) -> None:
    """The system says EFBIG then, not ENOSPC, and SQLite that it could not write. With more room it starts."""
    version_1_file.parent.rename(tmp_path / "data")
    ended = await finished(tmp_path, command=launcher(_LIMIT))
    *_, said = ended.stderr.decode().splitlines()
    assert (ended.returncode, said) == (3, "trio-relay: data/relay.db: disk I/O error (SQLITE_IOERR_WRITE)")
    assert _version(tmp_path / "data" / "relay.db") == 1
    async with running(tmp_path) as program, program.client() as client:
        assert len(await everything(client)) == len(EVENTS)
    assert _version(tmp_path / "data" / "relay.db") == schema.VERSION


def _size(path: Path) -> int:
    return path.stat().st_size
