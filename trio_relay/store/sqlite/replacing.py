"""Puts another file in the place of a store's: in one step, so that who is killed leaves the old one or the new one.

What makes that more than a rename is the log beside the old file. It may hold what the file does not, and SQLite would
take it for the new file's. So it is folded into the old file and removed before the step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

import apsw

from trio_relay.private_files import give_to_owner_of, make_folder, put_in_place, remove_unfinished, unfinished
from trio_relay.store.base import StoreRefused
from trio_relay.store.sqlite import schema
from trio_relay.store.sqlite.lifetime import refusing
from trio_relay.store.sqlite.lock import PidLock
from trio_relay.store.sqlite.shrinking import take_alone
from trio_relay.store.sqlite.transaction import described

_BEFORE: Final = ".before-restore"
_LOGS: Final = ("-wal", "-journal")
"""What SQLite lays beside a file, and reads before it reads the file."""
_MEMORY: Final = "-shm"


class Replacement:
    """The place of a store, held by this process; made by `replacing`.

    Attributes:
        part: an empty file beside it, to be filled with the new store.
        before: where the old store is once it has been replaced; None if there is none.
    """

    def __init__(self, path: Path, part: Path, before: Path | None) -> None:
        self.part = part
        self.before = before
        self._path = path

    def put(self) -> None:
        """Put what `part` holds in the place of the store, which is kept beside it; blocks.

        Raises:
            StoreRefused: what is there is no store, or of a newer version; or somebody has the old one open, or it
                cannot be kept. Then the old one is in its place, and whole.
        """
        _check(self.part)
        with refusing(self._path):
            if self.before is None:
                self._put()
                return
            with _taken_alone(self._path) as is_folded:
                if not self.before.exists():
                    os.link(self._path, self.before)
                if not is_folded:
                    _set_aside(self._path, self.before)
                self._put()

    def _put(self) -> None:
        for end in (*_LOGS, _MEMORY):
            Path(f"{self._path}{end}").unlink(missing_ok=True)
        give_to_owner_of(self._path, self.part)
        put_in_place(self.part, self._path)


@contextmanager
def replacing(path: Path, *, replaces: bool) -> Iterator[Replacement]:
    """Hold the place of a store, and get an empty file for what is to be there.

    What an earlier try has left behind, because it was killed, is removed.

    Args:
        path: of the store, as the configuration has it.
        replaces: whether there may be one already.

    Raises:
        StoreRefused: a process holds it; or there is one, and it is not to be replaced, or could not be kept.
    """
    with refusing(path):
        make_folder(path.parent)
        lock = PidLock(path)
    try:
        file = Path(os.path.realpath(path)) if path.is_symlink() else path  # what a link names has its log beside it
        before = _room_for_old(file, replaces=replaces) if file.exists() else None
        with refusing(path):
            remove_unfinished(file)
            with unfinished(file) as part:
                yield Replacement(file, part, before)
    finally:
        lock.release()


def _room_for_old(file: Path, *, replaces: bool) -> Path:
    """Return where the old store is to be kept.

    Raises:
        StoreRefused: it is not to be replaced, or something else is there.
    """
    before = Path(f"{file}{_BEFORE}")
    if not replaces:
        raise StoreRefused(
            f"{file} is there already; --replace puts another in its place, and keeps it as {before.name}"
        )
    # It is there, and the same file, where an earlier try was killed right before the last step.
    if before.exists() and not before.samefile(file):
        raise StoreRefused(f"{before} is there from the last time: move it away, or remove it")
    return before


def _check(part: Path) -> None:
    try:
        with closing(apsw.Connection(str(part), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            schema.check(connection, "the backup")
    except apsw.Error as error:
        raise StoreRefused(f"the backup holds no store of a relay: {described(error)}") from error


@contextmanager
def _taken_alone(file: Path) -> Iterator[bool]:
    """Keep all others out of the old file while it is replaced, with all of its log in it and no log beside it.

    Gives False if the file is too damaged for that.

    Raises:
        StoreRefused: somebody has it open, even if they do nothing: the memory of its log would be taken for the new
            file's.
    """
    with ExitStack() as held:
        try:
            connection = held.enter_context(closing(apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READWRITE)))
            connection.set_busy_timeout(schema.BUSY_MS)
            take_alone(connection, file)
            is_whole = True
        except apsw.Error:
            held.close()  # before its log is moved: to close a connection may fold it
            is_whole = False
        yield is_whole


def _set_aside(file: Path, before: Path) -> None:
    """Keep the log of a damaged file with it."""
    for end in _LOGS:
        log = Path(f"{file}{end}")
        if log.exists():
            log.replace(f"{before}{end}")
