"""Whatever the program writes is for its user alone, although its umask would let everybody in."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest

from tests.support.keys import ALICE
from tests.support.program import finished, launcher, running

pytestmark = pytest.mark.slow

OPEN = launcher("import os; os.umask(0)")
SETTINGS = {
    "net.listen": '["127.0.0.1:0", "unix:run/relay.sock"]',
    "relay.url": "wss://relay.example/",
    "members.enabled": "true",
    "metrics.listen": "unix:run/metrics.sock",
}


def kept(folder: Path) -> dict[str, str]:
    """The mode of everything in a folder, as `ls` shows it."""
    return {path.relative_to(folder).as_posix(): stat.filemode(path.lstat().st_mode) for path in folder.rglob("*")}


async def test_all_that_the_serving_program_writes_is_for_its_user_alone(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o755)
    made = {"data": "drwx------", **{f"data/relay.db{end}": "-rw-------" for end in ("", "-wal", "-shm", ".lock")}}
    sockets = {"run": "drwxr-xr-x", "run/relay.sock": "srw-rw----", "run/metrics.sock": "srw-rw----"}
    sockets |= {"data/relay.db.sock": "srw-------"}
    async with running(tmp_path, {**SETTINGS, **processes}, command=OPEN) as program:
        assert kept(tmp_path) == made | sockets
        async with program.client() as client:
            assert (await client.publish(ALICE.event("a note")))[0] == "OK"
        assert kept(tmp_path) == made | sockets


async def test_all_that_commands_write_is_for_their_user_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lines = msgspec.json.encode(ALICE.event("a note")) + b"\n"
    settings = {**SETTINGS, "store.path": "other/relay.db", "members.members_write": "false"}
    for arguments in (
        ["migrate"],
        ["import", "-"],
        ["export", "events.jsonl"],
        ["export", "--state", "state.json", "--with-key", "events.jsonl.gz"],
        ["export", "events.jsonl"],
        ["trends"],
        ["check-config"],
    ):
        ended = await finished(tmp_path, *arguments, settings=settings, stdin=lines, command=OPEN)
        assert (arguments, ended.returncode, ended.stderr[-300:]) == (arguments, 0, ended.stderr[-300:])
    written = {name: mode for name, mode in kept(tmp_path).items() if name.split("/")[0] not in ("data", "run")}
    assert written == {
        "other": "drwx------",
        **{f"other/relay.db{end}": "-rw-------" for end in ("", "-wal", "-shm", ".lock")},
        **dict.fromkeys(("events.jsonl", "events.jsonl.gz", "state.json"), "-rw-------"),
    }


async def test_a_folder_with_the_socket_of_a_proxy_stays_open_to_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o750)
    async with running(tmp_path, {"net.listen": '["127.0.0.1:0", "unix:data/relay.sock"]'}, command=OPEN) as program:
        assert kept(tmp_path)["data"] == "drwxr-x---"
        assert [line["event"] for line in program.log] == []
    (data / "relay.sock").unlink()
    async with running(tmp_path, command=OPEN) as program:
        assert kept(tmp_path)["data"] == "drwx------"
        assert (await program.logs("closed to others"))["path"] == str(data)
