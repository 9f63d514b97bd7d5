"""Stores filled beforehand: a million events by the relay's own store, the rest by publishing to each server."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final

import apsw
import msgspec
import trio

from perf import corpus, generator
from perf.plan import Plan
from perf.scenarios import Scenario
from perf.servers import Command, running
from trio_relay.store.sqlite import SqliteOptions, open_sqlite, records, schema

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
        corpus.newest_filled(count)
    return folder


def _layout() -> str:
    """Changes with the tables and with what is written into them."""
    connection = apsw.Connection(":memory:")
    schema.prepare(connection, ":memory:")
    tables = connection.execute("SELECT group_concat(sql, char(10) ORDER BY name) FROM sqlite_schema").get
    connection.close()
    return sha256((tables + inspect.getsource(records)).encode()).hexdigest()[:8]


async def _fill(path: Path, count: int) -> None:
    events = corpus.filling(count)
    # What a power cut takes away is not kept: the folder gets its name only at the end.
    async with open_sqlite(SqliteOptions(path=str(path), synchronous="normal")) as store:
        while batch := list(islice(events, _BATCH)):
            await store.save_many(batch)


class Stores:
    """The folders that the servers of one run find; each server's own is made when it is first asked for.

    Args:
        folder: an empty one, for as long as the run lasts.
        tell: gets a line about what takes long.
    """

    def __init__(self, folder: Path, tell: Callable[[str], None]) -> None:
        self._folder = folder
        self._tell = tell

    def find(self, command: Command, scenario: Scenario) -> Path | None:
        """What this server is to find for this scenario; None: nothing.

        Raises:
            Failed: the server did not take the events.
        """
        plan = scenario.plan
        if plan.filled:
            return filled(plan.filled, self._tell)
        return self._publish(command, plan) if plan.stored else None

    def _publish(self, command: Command, plan: Plan) -> Path:
        folder = self._folder / f"{command.name}-{plan.corpus}-{plan.stored}"
        if not folder.exists():
            publishing = msgspec.structs.replace(
                plan, load="publish", first=0, count=plan.stored, laps=1, connections=10, window=200, rate=0
            )
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            with running(command, folder=partial) as server:
                generator.run(msgspec.structs.replace(publishing, port=server.port), _nothing, _nothing)
            partial.rename(folder)
        return folder


def _nothing() -> None:
    """Nobody looks."""
