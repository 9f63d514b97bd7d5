"""Stores of up to a million events, made once by the relay's own store and kept for all runs."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final

import apsw
import trio

from perf import corpus
from trio_relay.nostr.negentropy.items import record
from trio_relay.store.sqlite import SqliteOptions, open_sqlite, rows, schema

_BATCH: Final = 5_000


def filled(count: int, tell: Callable[[str], None] = print) -> Path:
    """A folder with a `relay.db` of so many events; made if it isn't kept yet, and anew when the tables change.

    Args:
        count: of `corpus.filling`.
        tell: gets a line if it takes a while.
    """
    name = f"store-{count}-{corpus.FILLED_SEED}-{corpus.EDITION}-v{schema.VERSION}-{_layout()}"
    folder = corpus.folder() / name
    if not folder.exists():
        tell(f"filling a store with {count:,} events, once; a million takes some minutes and 2 GB of {folder.parent}")
        partial = folder.with_suffix(f".{os.getpid()}")
        trio.run(_fill, partial / "relay.db", count)
        if any(partial.glob("*-wal")):
            raise RuntimeError(f"{partial} has a log that was not folded back")
        partial.rename(folder)
    return folder


def filled_records(count: int) -> bytes:
    """The records of all events in the store that `filled` gives, in no order; see `nostr.negentropy.items`."""
    # Nobody writes it: so it can be read without a log, of which nothing then stays behind.
    uri = f"{(filled(count) / 'relay.db').absolute().as_uri()}?immutable=1"
    connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        found = connection.execute("SELECT created_at, id FROM event")
        return b"".join(record(created_at, event_id) for created_at, event_id in found)
    finally:
        connection.close()


def _layout() -> str:
    """Changes with the tables and with what is written into them."""
    connection = apsw.Connection(":memory:")
    schema.prepare(connection, ":memory:")
    tables = connection.execute("SELECT group_concat(sql, char(10) ORDER BY name) FROM sqlite_schema").get
    connection.close()
    return sha256((tables + inspect.getsource(rows)).encode()).hexdigest()[:8]


async def _fill(path: Path, count: int) -> None:
    events = corpus.filling(count)
    # What a power cut takes away is not kept: the folder gets its name only at the end.
    async with open_sqlite(SqliteOptions(path=str(path), synchronous="normal")) as store:
        while batch := list(islice(events, _BATCH)):
            await store.save_many(batch)
