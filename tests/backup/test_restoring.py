"""Restoring: a whole backup takes the place of a store in one step, and whatever else comes touches nothing."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import apsw
import pytest
import trio

from tests.backup.conftest import EVENTS, KEPT, NEWEST, fill, options
from tests.store.files import opened_for_reading
from tests.support.backends import everything
from tests.support.keys import ALICE, NOW
from trio_relay import Event, StoreRefused, open_sqlite
from trio_relay.backup import backup_file, base, making, restoring

pytestmark = pytest.mark.slow

ALSO = ALICE.event("what the other store has", created_at=NOW + 5)


@pytest.fixture
def made(store: Path, file: Path) -> Path:
    """A backup of `store`, with its key."""
    trio.run(lambda: making.back_up_file(store, file, NOW, with_key=True, rests=False))
    return file


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another store, in a folder of its own."""
    path = tmp_path / "other" / "relay.db"
    trio.run(fill, path, ALSO)
    return path


def restore(file: Path, store: Path, *, replaces: bool = False) -> restoring.Restored:
    return restoring.restore_file(file, store, replaces=replaces)


def events_in(path: Path) -> list[Event]:
    """What a relay finds there, which starts on it and stops."""

    async def read() -> list[Event]:
        async with open_sqlite(options(path)) as store:
            return await everything(store)

    return trio.run(read)


def files_in(folder: Path) -> dict[str, bytes]:
    """All that is in a folder but for locks."""
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.suffix != ".lock"}


def test_a_backup_makes_a_store_where_none_is(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "relay.db"
    restored = restore(made, path)
    assert (restored.header.events, restored.before) == (len(EVENTS), None)
    assert set(files_in(path.parent)) == {"relay.db"}
    assert path.stat().st_mode & 0o777 == 0o600
    assert events_in(path) == EVENTS

    async def kept() -> dict[str, bytes]:
        async with opened_for_reading(path) as opened:
            return await opened.get_metadata()

    assert trio.run(kept) == KEPT


def test_a_store_that_is_there_is_replaced_by_request_alone_and_kept(made: Path, other: Path) -> None:
    before = files_in(other.parent)
    with pytest.raises(StoreRefused, match=r"is there already; --replace puts another in its place, and keeps it as"):
        restore(made, other)
    assert files_in(other.parent) == before
    restored = restore(made, other, replaces=True)
    assert restored.before == Path(f"{other}.before-restore")
    assert files_in(other.parent).keys() == {"relay.db", "relay.db.before-restore"}
    assert events_in(other) == EVENTS
    assert events_in(restored.before) == [ALSO]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_root_restores_belongs_to_whom_the_store_belonged(made: Path, other: Path) -> None:
    os.chown(other, 12_345, 23_456)
    restore(made, other, replaces=True)
    for path in (other, Path(f"{other}.before-restore")):
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (12_345, 23_456, 0o600)
    assert events_in(other) == EVENTS


def test_what_is_kept_from_the_last_time_is_not_lost(made: Path, other: Path) -> None:
    restore(made, other, replaces=True)
    before = files_in(other.parent)
    with pytest.raises(StoreRefused, match=r"before-restore is there from the last time: move it away, or remove it"):
        restore(made, other, replaces=True)
    assert files_in(other.parent) == before


def test_the_log_of_a_killed_relay_goes_with_its_store(made: Path, other: Path, tmp_path: Path) -> None:
    """SQLite would take it for the new store's."""
    killed = tmp_path / "killed" / "relay.db"
    killed.parent.mkdir()

    async def kill() -> None:
        async with open_sqlite(options(other)) as running:
            await running.save_many([NEWEST])
            copy(other, killed, "", "-wal", "-shm")

    trio.run(kill)
    restored = restore(made, killed, replaces=True)
    assert files_in(killed.parent).keys() == {"relay.db", "relay.db.before-restore"}
    assert events_in(killed) == EVENTS
    assert restored.before is not None
    assert events_in(restored.before) == [ALSO, NEWEST]


def copy(source: Path, target: Path, *ends: str) -> None:
    for end in ends:
        Path(f"{target}{end}").write_bytes(Path(f"{source}{end}").read_bytes())


def test_a_log_without_a_store_is_removed(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "relay.db"
    path.parent.mkdir()
    for end in ("-wal", "-shm", "-journal"):
        Path(f"{path}{end}").write_bytes(b"x" * 5_000)
    restore(made, path)
    assert files_in(path.parent).keys() == {"relay.db"}
    assert events_in(path) == EVENTS


@pytest.mark.parametrize("harm", [os.urandom, bytes, lambda number: b"x" * (number // 2)])
def test_a_store_that_is_damaged_is_replaced_too_and_kept_with_its_log(
    made: Path, other: Path, harm: Callable[[int], bytes]
) -> None:
    other.write_bytes(damaged := harm(other.stat().st_size))
    Path(f"{other}-wal").write_bytes(b"a log")
    restored = restore(made, other, replaces=True)
    assert events_in(other) == EVENTS
    assert restored.before is not None
    kept = files_in(other.parent)
    assert kept[restored.before.name] == damaged


def test_while_a_relay_holds_the_store_its_pid_is_named(made: Path, other: Path) -> None:
    async def attempt() -> None:
        async with open_sqlite(options(other)):
            before = set(files_in(other.parent))
            with pytest.raises(StoreRefused, match=rf"is in use by the process with pid {os.getpid()}$"):
                restore(made, other, replaces=True)
            assert set(files_in(other.parent)) == before

    trio.run(attempt)
    assert events_in(other) == [ALSO]


def test_while_somebody_reads_the_store_it_is_not_replaced(
    made: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trio_relay.store.sqlite.schema.BUSY_MS", 1)
    with closing(apsw.Connection(str(other))) as reader:
        reader.pragma("journal_mode", "wal")
        reader.execute("BEGIN; CREATE TABLE moon (x); COMMIT; BEGIN; SELECT * FROM event").fetchall()
        with pytest.raises(StoreRefused, match=r"is in use by another process, such as a relay or an export"):
            restore(made, other, replaces=True)
    assert files_in(other.parent).keys() == {"relay.db"}
    assert events_in(other) == [ALSO]


def test_while_somebody_has_the_store_open_and_does_nothing_it_is_not_replaced(
    made: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their log's memory would be taken for the new file's."""
    monkeypatch.setattr("trio_relay.store.sqlite.schema.BUSY_MS", 1)
    before = other.stat().st_ino
    with closing(apsw.Connection(str(other))) as idle:
        assert idle.execute("SELECT count(*) FROM event").get == 1
        with pytest.raises(StoreRefused, match=r"is in use by another process"):
            restore(made, other, replaces=True)
        assert other.stat().st_ino == before
    restore(made, other, replaces=True)
    assert events_in(other) == EVENTS


@pytest.mark.parametrize("place", [0, 40, 400, -1, -33])
def test_a_damaged_backup_touches_nothing(made: Path, other: Path, tmp_path: Path, place: int) -> None:
    raw = bytearray(made.read_bytes())
    raw[place] ^= 0x40
    made.write_bytes(raw)
    before = files_in(other.parent)
    for path in (other, tmp_path / "new" / "relay.db"):
        with pytest.raises(base.BackupRefused):
            restore(made, path, replaces=True)
        with pytest.raises(base.BackupRefused):
            restoring.check_backup(made)
    assert files_in(other.parent) == before
    assert not (tmp_path / "new").exists()


def rewritten(file: Path, store: bytes, **said: int) -> None:
    """A backup of this, whole, that says so of itself."""
    header = backup_file.read_header(file)
    values = {name: getattr(header, name) for name in header.__struct_fields__} | {"size": len(store)} | said
    with file.open("wb") as out, (file.parent / "raw").open("w+b") as raw:
        raw.write(store)
        raw.seek(0)
        backup_file.write_backup(out, backup_file.BackupHeader(**values), raw, lambda: None)


def test_a_backup_of_a_newer_store_touches_nothing(made: Path, tmp_path: Path) -> None:
    rewritten(made, b"".join(backup_file.contents(made)), schema=1_000)
    with pytest.raises(base.BackupRefused, match=r"take the newer trio-relay that wrote it"):
        restore(made, tmp_path / "new" / "relay.db")
    assert not (tmp_path / "new").exists()


def test_a_backup_of_what_is_no_store_touches_nothing(made: Path, other: Path) -> None:
    with closing(sqlite3.connect(other.parent / "foreign")) as foreign:
        foreign.execute("CREATE TABLE moon (x)")
    raw = (other.parent / "foreign").read_bytes()
    (other.parent / "foreign").unlink()
    before = files_in(other.parent)
    for store, why in (
        (raw, "the backup is a database, but not one"),
        (b"no database" * 99, "holds no store of a relay"),
    ):
        rewritten(made, store)
        with pytest.raises(StoreRefused, match=why):
            restore(made, other, replaces=True)
        assert files_in(other.parent) == before


@pytest.mark.parametrize("step", ["fold", "link", "unlink", "replace"])
def test_who_fails_at_any_step_leaves_the_old_store_and_can_be_run_again(
    made: Path, other: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_arguments: object, **_named: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        match step:
            case "fold":
                patched.setattr("trio_relay.store.sqlite.replacing.put_in_place", fail)
            case "link":
                patched.setattr(os, "link", fail)
            case "unlink":
                patched.setattr(Path, "unlink", fail)
            case "replace":
                patched.setattr(Path, "replace", fail)
        with pytest.raises((StoreRefused, OSError), match=r"Input/output error"):
            restore(made, other, replaces=True)
    assert events_in(other) == [ALSO]
    restore(made, other, replaces=True)
    assert events_in(other) == EVENTS
    assert events_in(Path(f"{other}.before-restore")) == [ALSO]
    assert [name for name in files_in(other.parent) if name.endswith(".part")] == []


def test_a_store_that_is_named_by_a_link_is_replaced_where_it_is(made: Path, other: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    link.symlink_to(other)
    restored = restore(made, link, replaces=True)
    assert link.is_symlink()
    assert restored.before == Path(f"{other}.before-restore")
    assert events_in(link) == EVENTS
