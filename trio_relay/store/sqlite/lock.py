"""Who may open a store's file, and write to what lies beside it: one process, and nobody but the relay's own user."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trio_relay.private_files import close_to_others, give_to_owner_of, open_private
from trio_relay.store.base import StoreInUse, StoreRefused

_LOCK: Final = ".lock"
_SOCKET: Final = ".sock"
_BESIDE: Final = ("-wal", "-shm", "-journal", _LOCK, _SOCKET)
"""What lies beside the database, by what is added to its name; the last is the control line's."""
_KEPT_ASIDE: Final = ".before-"
"""Begins what is added to the name of an old database that another one has replaced."""


class PidLock:
    """Holds `<path>.lock` with the pid in it until `release`; a killed process leaves only an unlocked file.

    It lies beside the file itself where a link names that, so that one file has one lock.

    Raises:
        StoreInUse: another process holds it; the message names its pid.
        OSError: the lock cannot be made here, or a link lies in its place.
    """

    def __init__(self, path: Path) -> None:
        self._fd = open_private(_lock_of(path))
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
            give_to_owner_of(path, _lock_of(path))
        except BlockingIOError:
            pid = _pid_in(self._fd)
            os.close(self._fd)
            raise StoreInUse(f"{path} is in use by the process with pid {pid}") from None
        except OSError:
            os.close(self._fd)
            raise

    def release(self) -> None:
        """Release the lock. The file stays: removing it would let two processes lock two files of one name."""
        os.close(self._fd)


def holder_of(path: Path) -> str | None:
    """Return the pid of the process that holds a store's file; None if none does."""
    try:
        descriptor = os.open(_lock_of(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(descriptor)
    finally:
        os.close(descriptor)
    return None


def _lock_of(path: Path) -> Path:
    real = _real(path)
    return Path(f"{real if real.exists() else path}{_LOCK}")  # a link to nothing has nothing made where it leads


def _real(path: Path) -> Path:
    """The file that a path names in the end, whether it is there or not; links that go in a circle name themselves."""
    return Path(os.path.realpath(path))


def _pid_in(lock: int) -> str:
    return os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"


@contextmanager
def held(path: Path) -> Iterator[Path]:
    """Hold the lock of a store's file for work without a relay; gives the file itself where a link names it.

    Raises:
        StoreInUse: another process holds it; the message names its pid.
        StoreRefused: there is no such file, or the lock cannot be made.
    """
    if not path.is_file():
        raise StoreRefused(f"{path} does not exist")
    try:
        lock = PidLock(path)
    except OSError as error:
        raise StoreRefused(f"{path}: {error.strerror}") from error
    try:
        yield _real(path)
    finally:
        lock.release()


def keep_from_others(path: Path, *, has_folder: bool) -> None:
    """Let nobody else open a database or what lies beside it; to be called by whoever holds its lock.

    A new one is made, empty, for its owner only: SQLite gives the log and all else that it makes the same mode. Older
    ones are closed to others where they are ours. So is the folder, if nothing else is in it.

    Args:
        path: of the database; a link to one that is there counts as that, since SQLite keeps its log there.
        has_folder: True if the folder is for nothing else.

    Raises:
        OSError: the file cannot be made.
    """
    if not path.exists():
        os.close(open_private(path, is_new=True))  # fails on a link to nothing, through which SQLite would make a file
        give_to_owner_of(path.parent, path)
    file = _real(path)
    own = [file, *_beside(file)]
    close_to_others(*own)
    if has_folder and _holds_only(file.parent, {one.name for one in own}):
        close_to_others(file.parent)


def why_not_there(store: Path, file: Path) -> str | None:
    """Why nothing may be written to a file: it is a store's, by whatever name; None if something may.

    To be asked before anything is written where an operator says: one argument too many must not cost the store.

    Args:
        store: the path of a store's database, as the configuration has it; nothing need be there.
        file: as it was named.
    """
    own = [named for path in {_whereabouts(store), _real(store)} for named in (path, *_beside(path))]
    for place in (_whereabouts(file), _real(file)):
        if place in own or any(str(place).startswith(f"{path}{_KEPT_ASIDE}") for path in own):
            return _ITS_OWN.format(file=file, store=store)
    try:
        found = file.stat()
    except OSError:
        return None  # it will be new, or cannot be written, which is said then
    is_own = any(os.path.samestat(found, one.stat()) for one in own if one.exists())
    return _ITS_OWN.format(file=file, store=store) if is_own else None


_ITS_OWN: Final = "{file} belongs to the store, {store}, and is not to be written over: name another file"


def _whereabouts(path: Path) -> Path:
    """A path without links on its way; what it names itself may be one."""
    return _real(path.parent) / path.name


def files_of(path: Path) -> list[Path]:
    """Return the files of a store, the database first, whether they are there or not; sockets are none."""
    real = _real(path)
    return [real, *(one for one in _beside(real) if one.suffix != _SOCKET)]


def _beside(path: Path) -> list[Path]:
    return [Path(f"{path}{suffix}") for suffix in _BESIDE]


def _holds_only(folder: Path, names: set[str]) -> bool:
    """Return True if nothing else is in a folder; False if that cannot be told."""
    try:
        return {one.name for one in folder.iterdir()} <= names
    except PermissionError:  # what may be written to need not be open to be listed
        return False
