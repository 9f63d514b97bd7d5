"""What the tests of the SQLite store share: stores that open fast, under a deadline, and ways to look into them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
import trio.testing

from trio_relay import SqliteOptions, open_sqlite
from trio_relay.store.sqlite import ReadPool, SqliteStore, open_sqlite_for_reading


@asynccontextmanager
async def opened(path: Path, *, readers: int = 2, worded: bool = False) -> AsyncIterator[SqliteStore]:
    """The store on this file, with `worded` when all events have words; fails after five minutes."""
    with trio.fail_after(300):
        async with open_sqlite(options(path, readers=readers)) as store:
            if worded:
                await store.worded.wait()
            yield store


@asynccontextmanager
async def opened_for_reading(path: Path) -> AsyncIterator[ReadPool]:
    """The same to read from only."""
    with trio.fail_after(300):
        async with open_sqlite_for_reading(options(path)) as store:
            yield store


def options(path: Path, *, readers: int = 2) -> SqliteOptions:
    """Options that spare a test the waiting for the disk."""
    return SqliteOptions(path=str(path), synchronous="normal", readers=readers)


def cancelling(scope: trio.CancelScope) -> Callable[[], None]:
    """What a thread calls to have its task cancelled, and told so, before it goes on."""
    token = trio.lowlevel.current_trio_token()

    async def cancel() -> None:
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()

    return lambda: trio.from_thread.run(cancel, trio_token=token)


def content(path: Path) -> bytes:
    """What is in a file."""
    return path.read_bytes()


def overwrite(path: Path, new: bytes) -> None:
    """Put something else into a file."""
    path.write_bytes(new)


def exists(path: Path) -> bool:
    """True if there is such a file."""
    return path.exists()
