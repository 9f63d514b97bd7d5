"""The relay in several processes: this one keeps the file, decides, and looks after the workers, which serve.

main
└─ store                  closes last
   └─ keeper              commits what workers send
      └─ relay            what operators decide, and what the relay says itself; no client speaks with it
         ├─ metrics       of all workers
         └─ supervisor    its workers end first, each as a whole relay does
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from trio_relay.app import (
    banner,
    hear_signals,
    is_shared,
    listening,
    rules_of,
    serve_metrics,
    sync_options,
    tune_process,
    url_of,
)
from trio_relay.config import Config
from trio_relay.list_files import ListFiles
from trio_relay.metrics import MetricsPage, WorkersFigures
from trio_relay.net.admin.api import AdminApi
from trio_relay.net.listeners import BoundListener, Shortage
from trio_relay.net.statistics import NetStatistics
from trio_relay.pipeline.opening import open_relay
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.statistics import RelayStatistics
from trio_relay.policy.options import PolicyOptions
from trio_relay.scoreboard import Scoreboard
from trio_relay.store.kept import Keeper
from trio_relay.store.sqlite import SqliteStore, open_sqlite
from trio_relay.workers.conversations import Conversations
from trio_relay.workers.home import HomeStore
from trio_relay.workers.spawning import Child, spawn
from trio_relay.workers.statistics import KeeperStatistics, Totals
from trio_relay.workers.supervisor import Supervisor

log = structlog.get_logger("trio_relay.workers")

_MORE_SECONDS: Final = 5.0
"""What a worker may take to end beyond the grace for its clients and the draining of its pipeline."""


async def main(config: Config, announce: Callable[[str], None], lists: ListFiles | None, workers: int) -> None:
    """Run a relay of several workers until SIGINT or SIGTERM, then stop it gracefully.

    Args:
        config: checked; its store is SQLite.
        announce: called with each line for the operator.
        lists: sees when lists of the configuration change; None if none stands in a file.
        workers: how many, at least 2.

    Raises:
        StoreRefused: the store cannot be opened.
        AddressRefused: an address cannot be listened on.
        WorkersFailed: the workers do not run.
        ExceptionGroup: a part of this process failed, so everything was stopped.
        StoppedNow: a second signal came while it was stopping; in a group.
    """
    tune_process(config)
    stop = trio.Event()
    has_folder = not is_shared(Path(config.store.path).parent, config)
    async with trio.open_nursery() as root:
        await root.start(hear_signals, stop)
        with Scoreboard.create(workers, config.net.max_connections) as scoreboard:
            async with (
                open_sqlite(config.store, has_folder=has_folder, scoreboard=scoreboard) as file,
                listening(config.net.listen) as listeners,
            ):
                await _Whole(config, workers, file, scoreboard, listeners).run(stop, announce, lists)
        root.cancel_scope.cancel(reason="the relay has stopped")


class _Whole:
    """All that runs over the open file."""

    def __init__(
        self,
        config: Config,
        workers: int,
        file: SqliteStore,
        scoreboard: Scoreboard,
        listeners: Sequence[BoundListener],
    ) -> None:
        self._config = config
        self._listeners = listeners
        self._scoreboard = scoreboard
        self._keeper = Keeper(file, config.pipeline.write_batch)
        self._totals = Totals(range(1, workers + 1), trio.current_time)
        self._conversations = Conversations(
            config,
            workers,
            self._keeper,
            scoreboard,
            self._descriptors,
            lambda number, reason: self._supervisor.kill(number, reason),
            self._totals,
        )
        self._store = HomeStore(file, self._keeper, self._conversations.obeyed)
        self._supervisor = Supervisor(
            workers,
            self._spawn,
            self._converse,
            grace_seconds=config.net.grace_seconds + config.pipeline.drain_seconds + _MORE_SECONDS,
        )
        self._workers = workers

    def _descriptors(self, _number: int) -> list[int]:
        return [listener.socket.fileno() for listener in self._listeners]

    async def _spawn(self, number: int, link: socket.socket) -> Child:
        return await spawn(number, link, [self._scoreboard.fd, *self._descriptors(number)])

    async def _converse(self, number: int, stream: trio.abc.Stream) -> None:
        await self._conversations.converse(number, stream, self._supervisor.ready)

    async def run(self, stop: trio.Event, announce: Callable[[str], None], lists: ListFiles | None) -> None:
        """Serve until `stop` is set."""
        config = self._config
        async with trio.open_nursery() as keeping:
            keeping.start_soon(self._keeper.run)
            async with open_relay(
                self._store, config.pipeline, rules=rules_of(config, self._listeners), sync=sync_options(config)
            ) as relay:
                await self._serve(relay, stop, announce, lists)
            await self._keeper.settled()
            keeping.cancel_scope.cancel(reason="all is saved")

    async def _serve(
        self, relay: Relay, stop: trio.Event, announce: Callable[[str], None], lists: ListFiles | None
    ) -> None:
        conversations, config = self._conversations, self._config
        conversations.relay, conversations.admin = relay, AdminApi(relay)
        relay.moderation.state.subscribe(conversations.follow)
        async with (
            listening((config.metrics.listen,) if config.metrics.listen else ()) as metrics_listeners,
            trio.open_nursery() as watching,
        ):
            if metrics_listeners:
                page = MetricsPage(partial(self._whole, relay), self._figures)
                gather = self._conversations.gather
                watching.start_soon(serve_metrics, metrics_listeners, page, config, Shortage(), gather)
            if lists is not None:

                def take(options: PolicyOptions) -> None:
                    relay.rules.take_options(options)
                    conversations.take_options(options)

                watching.start_soon(lists.run, config.policy, take)
            for line in banner(config, self._store, relay, metrics_listeners, self._workers):
                announce(line)
            async with trio.open_nursery() as serving:
                serving.start_soon(self._stop_workers, stop)
                await serving.start(partial(self._supervisor.run, stop))
                if not stop.is_set():
                    for listener in self._listeners:
                        announce(f"listening on {url_of('ws', listener)}")
            watching.cancel_scope.cancel(reason="the relay has stopped")

    def _whole(self, relay: Relay) -> tuple[RelayStatistics, NetStatistics]:
        own = relay.statistics()
        return self._totals.whole(KeeperStatistics(own.signatures, own.store, failure=own.writer.failure))

    def _figures(self) -> WorkersFigures:
        return self._totals.figures(self._keeper.store.newest, self._supervisor.statistics().crashes)

    async def _stop_workers(self, stop: trio.Event) -> None:
        await stop.wait()
        self._conversations.stop()
