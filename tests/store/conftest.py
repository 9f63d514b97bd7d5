"""A place for the file of a store, and what the tests of the quick reader share."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import apsw
import pytest

from tests.store.quickness import DEADLINES, EVENTS, Clock, Speed
from trio_relay.store.sqlite import batch_writer, event_cache, fetch, loop_reader, schema
from trio_relay.store.sqlite.loop_reader import LoopReader


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store may make its file; nothing is there yet, nor is the folder."""
    return tmp_path / "data" / "relay.db"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store with `EVENTS`."""
    path = tmp_path / "relay.db"
    connection = apsw.Connection(str(path))
    schema.prepare(connection, "")
    batch_writer.BatchWriter(connection).save(EVENTS)
    connection.close()
    return path


@pytest.fixture
def quick_connection(file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[apsw.Connection]:
    """What the quick reader reads with; its deadlines are those that users have."""
    for name, seconds in DEADLINES.items():
        monkeypatch.setattr(loop_reader, name, seconds)
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    fetch.limit_answers(connection)
    yield connection
    connection.close()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still until told."""
    return Clock()


@pytest.fixture(params=[None, 2**20], ids=["uncached", "cached"])
def quick_reader(request: pytest.FixtureRequest, quick_connection: apsw.Connection, clock: Clock) -> LoopReader:
    """A quick reader under this clock, without a cache and with one; it reads a block of the disk each time."""
    cache = event_cache.EventCache(request.param) if request.param else None
    return LoopReader(quick_connection, clock, cache, count().__next__)


@pytest.fixture
def speed(quick_reader: LoopReader, clock: Clock) -> Speed:
    """Of the quick reader's searches."""
    return Speed(quick_reader, clock)
