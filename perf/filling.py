"""Stores filled beforehand: a million events by the relay's own store, the rest by publishing to each server."""

from __future__ import annotations

import inspect
import os
import shutil
from collections.abc import Callable
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Final

import apsw
import msgspec
import trio

from perf import corpus, generator
from perf.cluster import Cluster
from perf.plan import Failed, Plan
from perf.scenarios import Scenario
from perf.servers import Command, free_port, running
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
    """The records (`nostr.itemset`) of all events in the store that `filled` gives, 40 bytes each, in no order."""
    # Nobody writes it: so it can be read without a log, of which nothing then stays behind.
    uri = f"{(filled(count) / 'relay.db').absolute().as_uri()}?immutable=1"
    connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    try:
        rows = connection.execute("SELECT created_at, id FROM event")
        return b"".join(record(created_at, event_id) for created_at, event_id in rows)
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


def _no_cluster() -> Cluster:
    raise Failed("there is no OpenSearch")


class Stores:
    """The folders that the servers of one run find; each server's own is made when it is first asked for.

    Args:
        folder: an empty one, for as long as the run lasts.
        tell: gets a line about what takes long.
        find_cluster: gives the one that scenarios on OpenSearch have, when the first of them comes.
    """

    def __init__(
        self, folder: Path, tell: Callable[[str], None], find_cluster: Callable[[], Cluster] = _no_cluster
    ) -> None:
        self._folder = folder
        self._tell = tell
        self._find_cluster = find_cluster
        self._indices: dict[tuple[int, int], str] = {}
        self.warm: set[str] = set()
        """Scenarios on OpenSearch that have been carried out once: its JVM has compiled what they need."""

    @cached_property
    def cluster(self) -> Cluster:
        """For scenarios on OpenSearch."""
        return self._find_cluster()

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
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            with running(command, folder=partial) as server:
                _publish(plan, server.port)
            partial.rename(folder)
        return folder

    def find_index(self, command: Command, scenario: Scenario) -> str | None:
        """On OpenSearch, what the names of the index start with that the relay is to find; None: an empty one.

        Raises:
            Failed: the relay did not take the events.
        """
        plan = scenario.plan
        if not plan.stored:
            return None
        key = plan.corpus, plan.stored
        if key not in self._indices:
            prefix = self.cluster.add()
            with running(self.cluster.in_front(command, prefix, free_port())) as server:
                _publish(plan, server.port)
            self.cluster.refresh(prefix)
            self._indices[key] = prefix
        return self._indices[key]


def _publish(plan: Plan, port: int) -> None:
    """What a plan wants to be stored before."""
    publishing = msgspec.structs.replace(
        plan, load="publish", port=port, first=0, count=plan.stored, laps=1, connections=10, window=200, rate=0
    )
    generator.run(publishing, _nothing, _nothing)


def _nothing() -> None:
    """Nobody looks."""
