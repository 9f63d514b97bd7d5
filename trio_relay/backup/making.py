"""Makes a backup of a store in a file, beside a relay that goes on storing events.

In a thread, with a rest after each piece of work that is as long as the work was: so it has half of a core and half of
a disk at most, and what comes in keeps the other half.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Final

from trio_relay.backup.backup_file import FORMAT, VERSION, BackupHeader, write_backup
from trio_relay.backup.base import BackupMade, BackupRefused
from trio_relay.moderation.state import CONSOLE_SECRET, SECRET_NAME
from trio_relay.private_files import remove_unfinished, unfinished, written_whole
from trio_relay.store.sqlite.copying import copy_file
from trio_relay.store.sqlite.lock import why_not_there
from trio_relay.store.sqlite.tally import check_room
from trio_relay.store.sqlite.threads import run_interruptibly
from trio_relay.version import __version__

SECRETS: Final = (SECRET_NAME, CONSOLE_SECRET)
"""The relay's own keys, by their names in the store: what it signs with, and what signs links into the console."""
_PIECE_SECONDS: Final = 0.01
"""Of work before a rest: long beside a switch of threads, short beside a commit."""


class WorkStopped(Exception):
    """The work was asked to end."""


class WorkPace:
    """How a thread works beside others: to be called often; thread-safe only in `stop`.

    Args:
        rests: whether anybody is to be given way.
    """

    def __init__(self, *, rests: bool) -> None:
        self._rests = rests
        self._stopped = threading.Event()
        self._since = time.monotonic()

    def __call__(self) -> None:
        """Rest, if it is time to.

        Raises:
            WorkStopped: the work is to end.
        """
        worked = time.monotonic() - self._since
        if self._stopped.is_set():
            raise WorkStopped
        if self._rests and worked >= _PIECE_SECONDS:
            self._stopped.wait(worked)
            self._since = time.monotonic()

    def stop(self) -> None:
        """Have the work end at its next call."""
        self._stopped.set()


async def back_up_file(store: Path, file: Path, now: float, *, with_key: bool, rests: bool = True) -> BackupMade:
    """Make a backup of the store in a file, and have it in its place once it is whole.

    What an earlier try has left behind, because it was killed, is removed.

    Args:
        store: of a relay, which may run.
        file: where the backup is in the end; an older one there stays until then. Beside it there has to be room for
            the store and for the backup.
        now: seconds since 1970.
        with_key: False: the relay's own secrets are not in it.
        rests: False: there is nobody to give way to.

    Raises:
        BackupRefused: the file cannot be written, or belongs to the store itself.
        StoreRefused: there is no store, or one of a newer version.
        StoreError: the store could not be read, or is damaged; or there is no room.
    """
    pace = WorkPace(rests=rests)
    left_out = () if with_key else SECRETS
    try:
        return await run_interruptibly(partial(_make, store, file, int(now), left_out, pace), pace.stop)
    except OSError as error:
        raise BackupRefused(f"{file} cannot be written: {error.strerror}") from error


def _make(store: Path, file: Path, now: int, left_out: Collection[str], pace: WorkPace) -> BackupMade:
    began = time.monotonic()
    _check_place(store, file)

    def pause() -> None:
        pace()
        check_room(file, 0)  # what comes into the store meanwhile must not find the disk full

    remove_unfinished(file)
    with unfinished(file) as copy:
        found = copy_file(store, copy, left_out, pause)
        header = BackupHeader(FORMAT, VERSION, now, __version__, found.schema, found.events, found.size, not left_out)
        with copy.open("rb") as source, written_whole(file) as out:
            write_backup(out, header, source, pause)
    size, seconds = file.stat().st_size, time.monotonic() - began
    return BackupMade(str(file), now, found.events, not left_out, size, seconds)


def _check_place(store: Path, file: Path) -> None:
    if (reason := why_not_there(store, file)) is not None:
        raise BackupRefused(reason)
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise BackupRefused(f"{file} cannot be written: it is no regular file, which takes its place once it is whole")
