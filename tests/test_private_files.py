"""What the program makes on disk is for its user alone, and never goes through a link in its place."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import structlog

from tests.store.files import content, opened
from tests.support.keys import ALICE
from trio_relay.private_files import (
    close_to_others,
    filled,
    make_folder,
    open_private,
    put_in_place,
    remove_unfinished,
    set_mode,
    unfinished,
    written_whole,
)

NOTE = ALICE.event("a note")
VICTIM = b"of somebody else"


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """Nothing but the program itself keeps its files from others."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that no link may lead to."""
    path = tmp_path / "victim"
    path.write_bytes(VICTIM)
    path.chmod(0o644)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: mode(path) for path in folder.iterdir()}


def told(logged: list[structlog.typing.EventDict]) -> list[tuple[str, str]]:
    """What was said, and of which file."""
    return [(entry["event"], Path(entry["path"]).name) for entry in logged]


async def test_a_new_store_is_for_its_owner_alone(tmp_path: Path, logged: list[structlog.typing.EventDict]) -> None:
    path = tmp_path / "var" / "data" / "relay.db"
    async with opened(path) as store:
        await store.save_many([NOTE])
        assert modes(path.parent) == dict.fromkeys(("relay.db", "relay.db-wal", "relay.db-shm", "relay.db.lock"), 0o600)
    assert (mode(path.parent), mode(path.parent.parent)) == (0o700, 0o700)
    assert modes(path.parent) == {"relay.db": 0o600, "relay.db.lock": 0o600}
    assert logged == []


async def an_open_store(path: Path) -> None:
    """A store as an older version has left it, killed: everybody may read and write."""
    async with opened(path) as store:
        await store.save_many([NOTE])
        files = {file: file.read_bytes() for file in path.parent.iterdir()}
    for file, data in files.items():
        file.write_bytes(data)
        file.chmod(0o666)
    path.parent.chmod(0o755)


OPEN = ["relay.db", "relay.db-wal", "relay.db-shm", "relay.db.lock"]


async def test_an_older_store_is_closed_and_that_is_said(
    tmp_path: Path, logged: list[structlog.typing.EventDict]
) -> None:
    path = tmp_path / "data" / "relay.db"
    await an_open_store(path)
    async with opened(path):
        assert {mode for name, mode in modes(path.parent).items()} == {0o600}
        assert mode(path.parent) == 0o700
    assert told(logged) == [("closed to others", name) for name in [*OPEN, "data"]]
    assert [entry["before"] for entry in logged] == ["0666"] * 4 + ["0755"]
    async with opened(path):
        assert len(logged) == 5, "it is said once"


async def test_a_folder_with_other_things_in_it_stays_as_it_is(tmp_path: Path) -> None:
    """It may be `/srv`, or somebody's home."""
    path = tmp_path / "data" / "relay.db"
    await an_open_store(path)
    (path.parent / "another").touch()
    async with opened(path):
        assert (mode(path.parent), mode(path)) == (0o755, 0o600)


async def test_what_belongs_to_somebody_else_is_said_and_the_relay_goes_on(
    tmp_path: Path, logged: list[structlog.typing.EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data" / "relay.db"
    await an_open_store(path)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    async with opened(path) as store:
        assert await store.known([NOTE.id]) == {NOTE.id}
    assert told(logged) == [("belongs to somebody else", name) for name in [*OPEN, "data"]]
    assert [(entry["log_level"], entry["owner"], entry["mode"]) for entry in logged[:1]] == [("warning", owner, "0666")]
    assert mode(path) == 0o666


async def test_what_cannot_be_closed_is_said_and_the_relay_goes_on(
    tmp_path: Path, logged: list[structlog.typing.EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path = tmp_path / "data" / "relay.db"
    await an_open_store(path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "chmod", refuse)
        async with opened(path) as store:
            assert await store.known([NOTE.id]) == {NOTE.id}
        patched.setattr(os, "chmod", lambda *_, **__: None)  # as a file system does that keeps no modes
        close_to_others(path)
    assert told(logged) == [("open to others", name) for name in [*OPEN, "data", "relay.db"]]
    assert {entry["log_level"] for entry in logged} == {"warning"}
    assert logged[0]["error"] == "Operation not permitted"


async def test_a_store_that_is_there_may_be_named_by_a_link(tmp_path: Path) -> None:
    """An operator has moved it to a larger disk, say."""
    (tmp_path / "large").mkdir()
    real, path = tmp_path / "large" / "real.db", tmp_path / "relay.db"
    async with opened(real) as store:
        await store.save_many([NOTE])
    real.chmod(0o644)
    path.symlink_to(real)
    async with opened(path) as store:
        assert await store.known([NOTE.id]) == {NOTE.id}
        assert path.is_symlink()
        assert {mode for name, mode in modes(real.parent).items()} == {0o600}


def test_a_file_that_is_written_whole_is_for_its_owner_alone(
    tmp_path: Path, logged: list[structlog.typing.EventDict]
) -> None:
    path = tmp_path / "out"
    for before in (None, 0o600, 0o644):
        if before is not None:
            path.chmod(before)
        with written_whole(path) as file:
            file.write(b"x")
            file.flush()
            assert {mode for name, mode in modes(tmp_path).items() if name.endswith(".part")} == {0o600}
        assert modes(tmp_path) == {"out": 0o600}
    assert [(entry["event"], entry["before"]) for entry in logged] == [("closed to others", "0644")]


@pytest.mark.parametrize("place", ["out", "out.part"])
def test_no_link_is_followed_by_what_is_written_whole(tmp_path: Path, victim: Path, place: str) -> None:
    path = tmp_path / "out"
    (tmp_path / place).symlink_to(victim)

    def write() -> None:
        with written_whole(path) as file:
            file.write(b"x")

    if place == "out":
        with pytest.raises(OSError, match="a symbolic link lies in its place, and is not followed"):
            write()
        assert path.is_symlink()
    else:
        write()
        assert path.read_bytes() == b"x"
    assert (content(victim), mode(victim)) == (VICTIM, 0o644)


def test_what_is_no_file_is_written_as_it_is_also_through_a_link(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    for path in (Path(f"/dev/fd/{writing}"), Path(os.devnull)):
        with written_whole(path) as file:
            file.write(b"x")
    assert os.read(reading, 9) == b"x"
    assert not Path(os.devnull).is_file()
    os.close(reading)
    os.close(writing)


def test_a_mode_is_not_set_through_a_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    with pytest.raises(OSError, match=r".+"):
        set_mode(tmp_path / "link", 0o666)
    assert mode(victim) == 0o644


def test_a_link_is_not_closed_but_said(tmp_path: Path, victim: Path, logged: list[structlog.typing.EventDict]) -> None:
    (tmp_path / "link").symlink_to(victim)
    close_to_others(tmp_path / "link", tmp_path / "nothing")
    assert told(logged) == [("a link where there should be a file", "link")]
    assert mode(victim) == 0o644


def test_a_folder_that_is_there_is_not_made_nor_changed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    assert not make_folder(tmp_path / "there")
    assert mode(tmp_path / "there") == 0o777
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
@pytest.mark.parametrize("name", ["/proc/none", "/proc/none/data"])
def test_a_folder_that_cannot_be_where_there_is_room_for_others_is_given_up(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        make_folder(Path(name))


@pytest.mark.parametrize("name", ["data", "data/backups"])
def test_no_folder_is_made_where_the_working_directory_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """As of a relay whose folder was removed and made anew while it runs, when its next backup is due."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError):
        make_folder(Path(name))


def test_a_file_that_must_be_new_is_not_opened_where_it_is_there(tmp_path: Path) -> None:
    os.close(open_private(tmp_path / "new", is_new=True))
    assert modes(tmp_path) == {"new": 0o600}
    with pytest.raises(FileExistsError):
        open_private(tmp_path / "new", is_new=True)
    os.close(open_private(tmp_path / "new"))


async def test_a_store_opens_in_a_folder_that_may_not_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not list it cannot tell what else is there, and leaves the folder as it is."""

    def refuse(folder: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    (tmp_path / "data").mkdir(0o755)
    monkeypatch.setattr(Path, "iterdir", refuse)  # modes do not bind root, who may run the tests
    async with opened(tmp_path / "data" / "relay.db"):
        assert mode(tmp_path / "data") == 0o755


@pytest.mark.slow
def test_standard_output_may_be_named_where_it_is_a_file(tmp_path: Path) -> None:
    written = tmp_path / "events.jsonl"
    program = (
        "from pathlib import Path; from trio_relay.private_files import written_whole\n"
        "with written_whole(Path('/dev/stdout')) as out: out.write(b'after')"
    )
    written.write_bytes(b"before ")
    with written.open("ab") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert written.read_bytes() == b"before after"


def test_an_unfinished_file_is_private_and_goes_whatever_becomes_of_it(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with unfinished(path) as part, filled(part) as file:
        file.write(b"x")
        assert (mode(part), part.parent) == (0o600, tmp_path)
    assert modes(tmp_path) == {}
    with unfinished(path) as part:
        put_in_place(part, path)
    assert modes(tmp_path) == {"out": 0o600}


def test_there_is_none_beside_what_is_no_regular_file(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    for path in (tmp_path / "link", tmp_path, Path(os.devnull)):
        with pytest.raises(OSError, match=r"it is no regular file"), unfinished(path):
            pass
    assert (content(victim), mode(victim)) == (VICTIM, 0o644)


def test_what_somebody_is_writing_is_no_leftover(tmp_path: Path) -> None:
    """Two who write the same file each end with a whole one: the last one stays."""
    path = tmp_path / "relay.backup"
    left = tmp_path / "relay.backup.abc_1234.part"
    left.write_bytes(b"of a killed process")
    with unfinished(path) as part, unfinished(path) as other:
        log = Path(f"{part}-journal")
        log.write_bytes(b"")
        remove_unfinished(path)
        assert sorted(tmp_path.iterdir()) == sorted([part, log, other])
        part.write_bytes(b"the first")
        put_in_place(part, path)
    assert path.read_bytes() == b"the first"
    remove_unfinished(path)
    assert list(tmp_path.iterdir()) == [path]
