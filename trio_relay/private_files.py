"""Files and folders that are the relay's alone: made for their owner only, never through a link in their place.

Whatever this program makes or cuts short on disk goes through here: a database with private messages and the relay's
own key, its lock, exports and states. What is there already and is open to others is closed, and that is said.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

import structlog

log = structlog.get_logger("trio_relay.private_files")

FILE_MODE: Final = 0o600
FOLDER_MODE: Final = 0o700
_OTHERS: Final = 0o077
_STANDARD_OUTPUT: Final = 1
_NO_LINK: Final = getattr(os, "O_NOFOLLOW", 0)
_IS_LINK: Final = frozenset({errno.ELOOP, errno.EMLINK})
"""What open(2) says of a link that it is not to follow, on Linux and macOS, and on FreeBSD."""
_PART: Final = ".part"
_RANDOM_PART: Final = re.compile(r"\.[a-z0-9_]{8}\.part(-journal|-wal|-shm)?")
"""What `tempfile` adds to the name of a file that is still being written, and SQLite to those of its logs."""
_LINK: Final = "a symbolic link lies in its place, and is not followed"


class Misplaced(OSError):
    """Something else lies where a file should; `strerror` says what, `filename` where."""


def make_folder(folder: Path) -> bool:
    """Make a folder, and those that lead to it, for their owner only; False if it was there.

    Raises:
        OSError: it cannot be made.
    """
    try:
        return _made(folder)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_folder(folder.parent)  # `mkdir(parents=True)` would open those to others
        return _made(folder)  # where that is there and this cannot be found, as in /proc, no further one helps


def _made(folder: Path) -> bool:
    try:
        folder.mkdir(FOLDER_MODE)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return False
    return True


def open_private(path: Path, *, is_new: bool = False) -> int:
    """Open a regular file for reading and writing; it is made for its owner only if it is not there.

    Nothing in it is changed. Returns the descriptor.

    Args:
        path: of the file.
        is_new: True: it must not be there.

    Raises:
        FileExistsError: it is there although it must not be.
        Misplaced: it is a link, or no regular file.
        OSError: it cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | _NO_LINK | (os.O_EXCL if is_new else 0)
    try:
        descriptor = os.open(path, flags, FILE_MODE)
    except OSError as error:
        if error.errno in _IS_LINK or path.is_symlink():
            raise Misplaced(error.errno, _LINK, str(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Misplaced(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def close_to_others(*paths: Path) -> None:
    """Take from others whatever they may do with these files and folders, where they are ours; say what was done.

    What belongs to somebody else, or cannot be closed, is said and left as it is. What is not there is passed over.
    """
    for path in paths:
        try:
            _close(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("open to others", path=str(path), error=error.strerror)


def _close(path: Path) -> None:
    found = path.lstat()
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISLNK(found.st_mode):
        log.warning("a link where there should be a file", path=str(path))
    elif found.st_uid != os.geteuid():
        log.warning("belongs to somebody else", path=str(path), owner=found.st_uid, mode=_shown(mode))
    elif mode & _OTHERS:
        set_mode(path, mode & ~_OTHERS)
        if stat.S_IMODE(path.lstat().st_mode) & _OTHERS:  # some file systems take a mode and keep none
            log.warning("open to others", path=str(path), error="the file system keeps no modes")
        else:
            log.info("closed to others", path=str(path), before=_shown(mode))


def set_mode(path: Path, mode: int) -> None:
    """Set the mode of what lies at a path, but not of what a link there names.

    Raises:
        OSError: it cannot be set, `Misplaced` where there is a link.
    """
    try:
        os.chmod(path, mode, follow_symlinks=False)
    except NotImplementedError:  # an older C library
        if path.is_symlink():
            raise Misplaced(errno.ELOOP, _LINK, str(path)) from None
        path.chmod(mode)


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """Make an empty file beside a path, for its owner only; what then lies there under its name goes in the end.

    A lock tells others that it is being written, until then.

    Raises:
        Misplaced: what lies at the path is no regular file.
        OSError: it cannot be made.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise Misplaced(errno.EINVAL, "it is no regular file", str(path))
    try:
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", suffix=_PART, dir=path.parent)
    except OSError as error:
        error.filename = str(path)  # nobody has asked for the other name
        raise
    try:
        with suppress(OSError):  # some file systems know no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield Path(name)
    finally:
        os.close(descriptor)
        Path(name).unlink(missing_ok=True)


def unfinished_beside(path: Path) -> list[Path]:
    """What is being written beside a path, or was left there by killed processes, when they were to write it.

    Raises:
        OSError: its folder cannot be read.
    """
    start = f"{path.name}."
    return [
        one
        for one in path.parent.iterdir()
        if one.name.startswith(start) and _RANDOM_PART.fullmatch(one.name.removeprefix(path.name))
    ]


def remove_unfinished(path: Path) -> None:
    """Remove what killed processes have left beside a path when they were to write it; what is being written stays.

    Raises:
        OSError: it cannot be removed.
    """
    for one in unfinished_beside(path):
        part, end, _log = str(one).rpartition(_PART)
        if not _is_being_written(f"{part}{end}"):
            one.unlink(missing_ok=True)


def _is_being_written(part: str) -> bool:
    try:
        descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | _NO_LINK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)
    return False


@contextmanager
def filled(part: Path) -> Iterator[BinaryIO]:
    """Open a file that `unfinished` has made for writing; what was written is on the disk when this ends.

    Raises:
        OSError: it could not be written.
    """
    with open(open_private(part), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def put_in_place(part: Path, path: Path) -> None:
    """Have a file take the place of what is at a path, in one step, also for who looks after a power cut.

    Raises:
        OSError: it could not; then what was there still is.
    """
    _sync(part)
    part.replace(path)
    _sync(path.parent)


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems of networks know no such thing
            raise
    finally:
        os.close(descriptor)


def give_to_owner_of(store: Path, made: Path) -> None:
    """Give a file the owner and the group of a store's, or of its folder if it is not there.

    Only root can, so that nobody else does: what root makes for a relay that is not root would shut that out. In some
    containers, and on file systems that know no owners, not even root can; it stays as it is then.

    Args:
        store: whose place it is.
        made: the file or folder that is to belong there.

    Raises:
        OSError: one of them cannot be looked at.
    """
    if os.geteuid() == 0:
        wanted, found = (store if store.exists() else store.parent).stat(), made.lstat()
        if (found.st_uid, found.st_gid) != (wanted.st_uid, wanted.st_gid):
            with suppress(PermissionError):
                os.chown(made, wanted.st_uid, wanted.st_gid, follow_symlinks=False)


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing, for its owner only; what was there stays until the new one is whole, and if that fails.

    What is no regular file, such as a pipe or `/dev/stdout`, is written as it is. A link to a regular file is refused:
    who put it there would decide which file is replaced.

    Args:
        path: where it is in the end; until then it lies beside that, under a name that ends in `.part`.

    Raises:
        OSError: it could not be written.
    """
    try:
        before = path.lstat().st_mode
    except FileNotFoundError:
        before = 0
    if before and not stat.S_ISREG(before):
        with open(_opened_for_writing(path), "wb") as file:
            yield file
        return
    with unfinished(path) as part:
        with filled(part) as file:
            yield file
        put_in_place(part, path)
    if before & _OTHERS:
        log.info("closed to others", path=str(path), before=_shown(stat.S_IMODE(before)))


def _opened_for_writing(path: Path) -> int:
    """Open what is there and no regular file; nothing is made, and nothing cut short."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        if os.path.samestat(found, os.fstat(_STANDARD_OUTPUT)):  # whoever started this has chosen the file
            return os.dup(_STANDARD_OUTPUT)
        raise Misplaced(errno.ELOOP, _LINK, str(path))
    return descriptor


def _shown(mode: int) -> str:
    return f"{mode:04o}"
