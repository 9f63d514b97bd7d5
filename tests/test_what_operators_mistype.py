"""A name that is mistyped costs no store, and is told as what it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
import trio
from click.testing import CliRunner, Result

from tests.sources.rust_relay_file import made_file
from tests.support.keys import ALICE, NOW
from trio_relay import SqliteOptions, open_sqlite
from trio_relay.backup import folder
from trio_relay.cli import main

pytestmark = pytest.mark.usefixtures("own_logging")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of three events."""
    path = tmp_path / "data" / "relay.db"

    async def fill() -> None:
        async with open_sqlite(SqliteOptions(path=str(path))) as opened:
            await opened.save_many([ALICE.event(str(number), created_at=NOW + number) for number in range(3)])

    trio.run(fill)
    return path


@pytest.fixture
def run(store: Path) -> Callable[..., Result]:
    """Runs the command in this process."""

    def run_command(*arguments: str, **settings: str) -> Result:
        environment = {"TRIO_RELAY_STORE__PATH": str(store)}
        environment |= {f"TRIO_RELAY_{key.upper()}": value for key, value in settings.items()}
        return CliRunner().invoke(main, arguments, env=environment, prog_name="trio-relay")

    return run_command


@pytest.mark.parametrize("command", ["backup", "export", "export --state", "check --repair"])
@pytest.mark.parametrize("end", ["", "-wal", ".lock"])
def test_nothing_is_written_over_the_store_itself(
    store: Path, run: Callable[..., Result], command: str, end: str
) -> None:
    lock = Path(f"{store}.lock").read_bytes()
    ended = run(*command.split(), f"{store}{end}")
    assert store.read_bytes()[:15] == b"SQLite format 3"
    assert Path(f"{store}.lock").read_bytes() == lock
    assert ended.exit_code == 2
    assert f"{store}{end} belongs to the store" in ended.stderr


def test_a_store_whose_name_is_that_of_a_backup_is_not_taken_for_one(store: Path, run: Callable[..., Result]) -> None:
    named = store.rename(store.with_name(folder.name_at(NOW)))
    for _ in range(2):
        ended = run("backup", store__path=str(named), backup__folder=str(store.parent), backup__keep="1")
        assert ended.exit_code == 0
    assert named.exists()


def test_what_a_repair_moves_out_is_not_written_over_the_store(store: Path, run: Callable[..., Result]) -> None:
    with closing(apsw.Connection(str(store))) as connection:
        connection.execute('UPDATE event SET json = replace(json, \'"content":"1"\', \'"content":"9"\')').fetchall()
    run("check", "--repair", str(store))
    assert store.read_bytes()[:15] == b"SQLite format 3"


@pytest.mark.parametrize(
    "source", ["/nonexistent", "/tmp", "mysql://host/db", "wss://relay.example.com", "http://host/"]
)
def test_a_source_that_is_none_is_a_wrong_argument(run: Callable[..., Result], source: str) -> None:
    ended = run("import", source)
    assert (ended.exit_code, "a part of the relay failed" in ended.stderr) == (2, False)
    assert "Error: " in ended.stderr


def test_only_an_import_of_lines_can_be_resumed(store: Path, run: Callable[..., Result]) -> None:
    other = store.with_name("nostr.db")
    with made_file(other):
        pass
    ended = run("import", "--resume", str(other))
    assert (ended.exit_code, "a part of the relay failed" in ended.stderr) == (2, False)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_file_that_a_relay_serves_by_another_name_is_not_replaced(
    store: Path, run: Callable[..., Result], link: Callable[[Path, Path], None]
) -> None:
    backup, other = store.parent / "a.backup", store.parent / "link.db"
    assert run("backup", str(backup)).exit_code == 0
    link(other, store)
    before = store.stat().st_ino

    async def restore_beside() -> Result:
        async with open_sqlite(SqliteOptions(path=str(store))):
            return await trio.to_thread.run_sync(
                lambda: run("restore", "--replace", str(backup), store__path=str(other))
            )

    ended = trio.run(restore_beside)
    assert (ended.exit_code, store.stat().st_ino) == (3, before)
    assert "in use" in ended.stderr
    assert run("restore", "--replace", str(backup), store__path=str(other)).exit_code == 0


@pytest.mark.parametrize(("name", "why"), [("-", "no stream can wait for"), ("pipe", "it is no regular file")])
def test_a_backup_goes_to_no_stream(
    tmp_path: Path, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, name: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    ended = run("backup", name)
    assert ended.exit_code == 2
    assert why in ended.stderr
    assert sorted(os.listdir()) == ["data", "pipe"]


@pytest.mark.parametrize("arguments", [("--check",), ("--replace",), ()])
def test_nobody_waits_for_a_pipe_that_is_to_be_restored(
    tmp_path: Path, run: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    ended = run("restore", *arguments, str(tmp_path / "pipe"))
    assert (ended.exit_code, "it is no regular file" in ended.stderr) == (2, True)
