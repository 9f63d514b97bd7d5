"""One process at a time may write into a store's file, others may read beside it; a dead process holds nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import apsw
import pytest
import trio

from tests.store.files import content, exists, opened, opened_for_reading, overwrite
from tests.support.backends import ask, everything
from tests.support.keys import ALICE
from trio_relay import Filter, StoreRefused
from trio_relay.nostr.event import Event, encode
from trio_relay.store.sqlite.lock import PidLock, holder_of

HOLDER = """
import sys, trio
from trio_relay import SqliteOptions, open_sqlite
from trio_relay.nostr.event import decode

async def main():
    async with open_sqlite(SqliteOptions(path=sys.argv[1])) as store:
        await store.save_many([decode(sys.argv[2])])
        print("stored", end="", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""
NOTE = ALICE.event("of another process")


@pytest.fixture
async def holder(path: Path) -> AsyncIterator[trio.Process]:
    """Another process that holds the store and has saved `NOTE`; killed at the latest when the test ends."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            command = [sys.executable, "-c", HOLDER, str(path), encode(NOTE).decode()]
            run = partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
            process: trio.Process = await nursery.start(run)
            assert process.stdout is not None
            assert await process.stdout.receive_some() == b"stored"
            yield process
            process.kill()


@pytest.mark.slow
async def test_a_second_process_is_refused_naming_the_pid_of_the_first(path: Path, holder: trio.Process) -> None:
    with pytest.raises(StoreRefused) as refused:
        async with opened(path):
            raise AssertionError("it was opened")
    assert str(refused.value) == f"{path} is in use by the process with pid {holder.pid}"


@pytest.mark.slow
async def test_a_killed_process_leaves_its_events_and_no_lock(path: Path, holder: trio.Process) -> None:
    holder.kill()
    await holder.wait()
    async with opened_for_reading(path) as store:
        assert await everything(store) == [NOTE]
    async with opened(path) as store:
        assert await everything(store) == [NOTE]


@pytest.mark.slow
async def test_a_reader_sees_what_another_process_has_committed(path: Path, holder: trio.Process) -> None:
    assert holder.returncode is None
    async with opened_for_reading(path) as store:
        assert await everything(store) == [NOTE]


async def test_a_reader_beside_the_writer_sees_each_commit(path: Path) -> None:
    async with opened(path) as writer, opened_for_reading(path) as reader:
        expected: list[Event] = []
        for number in range(5):
            assert await everything(reader) == expected
            event = ALICE.event(str(number))
            await writer.save_many([event])
            expected.append(event)
            assert await ask(reader, Filter(ids=frozenset([event.id]))) == [event]
            assert await reader.known([event.id]) == {event.id}


async def test_a_reader_needs_no_writer_and_leaves_the_file_to_others(path: Path) -> None:
    async with opened(path) as store:
        await store.save_many([NOTE])
    async with opened_for_reading(path) as one, opened_for_reading(path) as other:
        assert await everything(one) == await everything(other) == [NOTE]
    async with opened(path) as store:
        assert await everything(store) == [NOTE]


async def test_a_second_store_of_the_same_process_is_refused_too(path: Path) -> None:
    async with opened(path) as store:
        with pytest.raises(StoreRefused, match=rf"by the process with pid {os.getpid()}$"):
            async with opened(path):
                raise AssertionError("it was opened")
        await store.save_many([NOTE])
        assert await everything(store) == [NOTE]


@contextmanager
def nameless_lock(path: Path) -> Iterator[None]:
    path.parent.mkdir()
    with open(f"{path}.lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


async def test_a_holder_that_did_not_say_who_it_is_is_unknown(path: Path) -> None:
    with nameless_lock(path), pytest.raises(StoreRefused, match=r"by the process with pid unknown$"):
        async with opened(path):
            raise AssertionError("it was opened")
    async with opened(path) as store:
        await store.probe()


async def test_the_lock_names_its_present_holder_alone(path: Path) -> None:
    lock = Path(f"{path}.lock")
    async with opened(path):
        overwrite(lock, b"123456789012345\n")
    async with opened(path):
        assert content(lock) == b"%d\n" % os.getpid()


def test_a_lock_that_cannot_be_written_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: bytes, _at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="No space left"):
            PidLock(tmp_path / "relay.db")
    PidLock(tmp_path / "relay.db").release()


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that no link may lead to."""
    path = tmp_path / "victim"
    overwrite(path, b"of somebody else")
    return path


async def test_a_link_in_the_locks_place_is_not_followed(tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "relay.db"
    os.symlink(victim, f"{path}.lock")
    with pytest.raises(StoreRefused) as refused:
        async with opened(path):
            raise AssertionError("it was opened")
    assert str(refused.value) == f"{path}.lock: a symbolic link lies in its place, and is not followed"
    assert (content(victim), exists(path)) == (b"of somebody else", False)


async def test_a_pipe_in_the_locks_place_is_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    os.mkfifo(f"{path}.lock")
    with pytest.raises(StoreRefused, match=r"relay\.db\.lock: it is no regular file$"):
        async with opened(path):
            raise AssertionError("it was opened")


async def test_no_store_is_made_through_a_link(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(StoreRefused, match=r"relay\.db: a symbolic link lies in its place, and is not followed$"):
        async with opened(path):
            raise AssertionError("it was opened")
    assert not exists(tmp_path / "elsewhere")


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_no_link_beside_the_store_is_followed(tmp_path: Path, victim: Path, suffix: str) -> None:
    """SQLite opens these by itself."""
    path = tmp_path / "data" / "relay.db"
    async with opened(path):
        pass
    os.symlink(victim, f"{path}{suffix}")
    with pytest.raises((StoreRefused, apsw.Error)):
        async with opened(path) as store:
            await store.save_many([NOTE])
    assert content(victim) == b"of somebody else"


async def test_who_holds_a_store_can_be_asked_without_taking_it(path: Path) -> None:
    assert holder_of(path) is None
    async with opened(path):
        assert holder_of(path) == str(os.getpid())
    assert holder_of(path) is None
    async with opened(path):
        pass


async def test_a_file_has_one_lock_by_whatever_link_it_is_named(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.db"
    async with opened(path):
        link.symlink_to(path)
        assert holder_of(link) == str(os.getpid())
        with pytest.raises(StoreRefused, match="is in use by the process with pid"):
            async with opened(link):
                raise AssertionError("it was opened")
    async with opened(link):
        assert holder_of(path) == str(os.getpid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_what_root_makes_for_a_store_is_its_owners(tmp_path: Path) -> None:
    """Else a relay that is not root would be shut out by the first command that root has given."""
    path = tmp_path / "relay.db"
    os.chown(tmp_path, 12_345, 23_456)
    async with opened(path):
        assert owners(tmp_path) == {(12_345, 23_456)}
    os.chown(path, 34_567, 23_456)
    async with opened(path):
        assert owners(tmp_path) == {(34_567, 23_456)}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_root_that_may_give_nothing_away_opens_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: object, **_named: object) -> None:
        raise PermissionError

    os.chown(tmp_path, 12_345, 23_456)
    monkeypatch.setattr(os, "chown", forbidden)
    async with opened(tmp_path / "relay.db") as store:
        await store.probe()


def owners(folder: Path) -> set[tuple[int, int]]:
    """Of all that is in a folder."""
    return {(found.st_uid, found.st_gid) for found in map(os.stat, folder.iterdir())}
