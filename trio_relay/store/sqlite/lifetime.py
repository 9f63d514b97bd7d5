"""The life of a store in a file: opened for one process and one user, and closed in bounded time."""

from __future__ import annotations

import errno
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from trio_relay.private_files import Misplaced, make_folder
from trio_relay.scoreboard import Scoreboard
from trio_relay.store.base import StoreInUse, StoreRefused
from trio_relay.store.sqlite.lock import PidLock, keep_from_others
from trio_relay.store.sqlite.options import SqliteOptions
from trio_relay.store.sqlite.read_pool import opened
from trio_relay.store.sqlite.store import SqliteStore

CLOSE_SECONDS: Final = 10


@asynccontextmanager
async def open_sqlite(
    options: SqliteOptions,
    *,
    clock: Callable[[], float] = time.time,
    has_folder: bool = True,
    scoreboard: Scoreboard | None = None,
    again: Callable[[StoreInUse], Awaitable[bool]] | None = None,
) -> AsyncIterator[SqliteStore]:
    """Open the store in this file, for this process and this user alone, for as long as the context lasts.

    Args:
        options: the file, and how it is used.
        clock: seconds since 1970, for expiry and for searches that look at ages.
        has_folder: False if others have to reach something in its folder, so that this stays open to them.
        scoreboard: shared with processes that only read the file; None: there are none.
        again: waits, if another process holds the file, and tells whether to try again; None: at once it is refused.

    Raises:
        StoreRefused: another process holds the file, it is of a newer version, or it cannot be opened.
    """
    path = Path(options.path)
    with refusing(path):
        _make_place(path)
        lock = await _locked(path, again)
    try:
        with refusing(path):
            keep_from_others(path, has_folder=has_folder)
        store = opened(partial(SqliteStore, clock=clock, scoreboard=scoreboard), options)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(store.checkpoint_regularly)
                nursery.start_soon(store.complete_words)
                yield store
                nursery.cancel_scope.cancel()
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await trio.to_thread.run_sync(store.close, abandon_on_cancel=True)
    finally:
        lock.release()


def _make_place(path: Path) -> None:
    """Make the folder for a file; what is no file in its place is left as it is, however it came to be named.

    As root even `/dev/null` could be closed to others.
    """
    if path.is_dir():
        raise Misplaced(errno.EISDIR, "it is a folder: store.path names a file in one", str(path))
    if path.exists() and not path.is_file():
        raise Misplaced(errno.EINVAL, "it is no regular file", str(path))
    make_folder(path.parent)


async def _locked(path: Path, again: Callable[[StoreInUse], Awaitable[bool]] | None) -> PidLock:
    while True:
        try:
            return PidLock(path)
        except StoreInUse as refused:
            if again is None or not await again(refused):
                raise


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn what the system says of a store's files into the refusal of the store."""
    try:
        yield
    except Misplaced as error:
        raise StoreRefused(f"{error.filename}: {error.strerror}") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreRefused(f"{path}: a file is in the way, {error.filename}") from error
    except OSError as error:
        raise StoreRefused(f"{path}: {error.strerror}") from error
