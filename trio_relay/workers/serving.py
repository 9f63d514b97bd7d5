"""The relay in several processes: this one keeps the file, decides, and looks after the workers, which serve.

main
└─ store                  closes last
   └─ keeper, or hub      commits what workers send; or has them hear of each other, where the store is a cluster's
      └─ relay            what operators decide, and what the relay says itself; no client speaks with it
         ├─ metrics       of all workers
         └─ supervisor    its workers end first, each as a whole relay does
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from trio_relay import logs
from trio_relay.attending import attended
from trio_relay.banner import banner, place_of
from trio_relay.bus.hub import Hub
from trio_relay.config import Config
from trio_relay.configured import (
    Entrance,
    bus_of,
    entrances_of,
    is_shared,
    open_store,
    rules_of,
    sync_options,
)
from trio_relay.main_process import Announce, MainProcess, Origins, main_process
from trio_relay.metrics import MetricsPage, WorkersFigures
from trio_relay.net.admin.api import AdminApi
from trio_relay.net.control import control_line
from trio_relay.net.handed_sockets import listening
from trio_relay.net.listeners import BoundListener, Shortage
from trio_relay.net.statistics import NetStatistics
from trio_relay.net.vitals import Look, Vitals, look_at
from trio_relay.net.web.assembly import open_console, pages_of, secret_of_links
from trio_relay.net.web.console import Console
from trio_relay.pipeline.histogram import SECONDS, SIZES, Histogram
from trio_relay.pipeline.opening import open_relay
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.statistics import RelayStatistics, longest_away
from trio_relay.policy.rates import WORDS
from trio_relay.scoreboard import Scoreboard
from trio_relay.served import take_console
from trio_relay.store.base import Store
from trio_relay.store.kept import Keeper
from trio_relay.store.sqlite import open_sqlite
from trio_relay.workers.conversations import Conversations
from trio_relay.workers.home import HomeStore
from trio_relay.workers.linked_bus import HubPlace
from trio_relay.workers.overview import WorkersSight
from trio_relay.workers.sharing import share_of_keeper
from trio_relay.workers.spawning import Child, spawn
from trio_relay.workers.statistics import KeeperStatistics, Totals
from trio_relay.workers.supervisor import Supervisor, WorkersFailed

log = structlog.get_logger("trio_relay.workers")

_MORE_SECONDS: Final = 5.0
"""What a worker may take to end beyond the grace for its clients and the draining of its pipeline."""


LEAST_PLACES: int = 10_000
"""Of the table in which workers count connections: what it has at the start is all that it has after a reload, too."""


async def main(config: Config, announce: Announce, origins: Origins, workers: int) -> None:
    """Run a relay of several workers until SIGINT or SIGTERM, then stop it gracefully.

    Args:
        config: checked; its store is not in memory.
        announce: called with each line for the operator.
        origins: what it knows beside that.
        workers: how many, at least 2.

    Raises:
        TlsRefused: the certificate or its key cannot be used.
        StoreRefused: the store cannot be opened.
        AddressRefused: an address cannot be listened on.
        WorkersFailed: the workers do not run.
        ExceptionGroup: a part of this process failed, so everything was stopped.
        StoppedNow: a second signal came while it was stopping; in a group.
    """
    async with main_process(config, announce, origins) as process:
        with _scoreboard(workers, config.net.max_connections, WORDS) as scoreboard:
            whole = _Whole(process, workers, scoreboard)
            await (whole.keep_file if config.store.backend == "sqlite" else whole.share_index)()


def _scoreboard(workers: int, connections: int, buckets: int) -> Scoreboard:
    """Make what all processes share.

    Raises:
        WorkersFailed: there is no room for it.
    """
    try:
        return Scoreboard.create(workers, max(connections, LEAST_PLACES), buckets)
    except OSError as error:
        raise WorkersFailed(f"no memory that workers can share: {error.strerror}") from error


def _grace_of(config: Config) -> float:
    return config.net.grace_seconds + config.pipeline.drain_seconds + _MORE_SECONDS


class _Whole:
    """All that this process does for its workers."""

    def __init__(self, process: MainProcess, workers: int, scoreboard: Scoreboard) -> None:
        config = process.config
        self._process = process
        self._config = config
        self._workers = workers
        self._scoreboard = scoreboard
        self._listeners: Sequence[BoundListener] = ()
        self._entrances: Sequence[Entrance] = ()
        self._newest: Callable[[], int] = lambda: 0
        self._mirror_away: str | None = None
        """As it was told when all were looked at last."""
        self._commits: tuple[Histogram, Histogram] | None = None
        """Events and seconds of each; None where workers commit by themselves."""
        self._totals = Totals(range(1, workers + 1), trio.current_time)
        self._supervisor = Supervisor(workers, self._spawn, self._converse, grace_seconds=_grace_of(config))
        self._conversations = Conversations(
            config, workers, scoreboard, self._descriptors, self._supervisor.kill, self._totals
        )

    async def keep_file(self) -> None:
        """Serve until the relay is to stop, and keep the SQLite file for all."""
        config, conversations = self._config, self._conversations
        has_folder = not is_shared(Path(config.store.path).parent, config)
        async with (
            open_sqlite(
                share_of_keeper(config, self._workers).store,
                has_folder=has_folder,
                scoreboard=self._scoreboard,
                again=self._process.origins.service.turn(config, self._process.stop),
            ) as file,
            listening(config.net.listen, self._process.handed) as self._listeners,
            trio.open_nursery() as keeping,
        ):
            keeper = Keeper(file, config.pipeline.write_batch)
            self._newest = lambda: file.newest
            keeper.told = self._note_commit
            conversations.share(keeper.join, keeper.settled)
            keeping.start_soon(keeper.run)
            await self._run(HomeStore(file, conversations.settled, keeper))
            await keeper.settled()
            keeping.cancel_scope.cancel(reason="all is saved")

    async def share_index(self) -> None:
        """Serve until the relay is to stop; the store is a cluster's, and what one writes all hear by this process."""
        hub = Hub(bus_of(self._config))
        async with (
            open_store(self._config, hub.join()) as index,
            listening(self._config.net.listen, self._process.handed) as self._listeners,
            trio.open_nursery() as joining,
        ):
            self._conversations.share(partial(HubPlace, hub), trio.lowlevel.checkpoint)
            joining.start_soon(hub.run)
            await self._run(HomeStore(index, self._conversations.settled))
            joining.cancel_scope.cancel(reason="nobody is here any more")

    def _descriptors(self, _number: int) -> list[int]:
        return [listener.socket.fileno() for listener in self._listeners]

    async def _spawn(self, number: int, link: socket.socket) -> Child:
        return await spawn(number, link, [self._scoreboard.fd, *self._descriptors(number)])

    async def _converse(self, number: int, stream: trio.abc.Stream) -> None:
        await self._conversations.converse(number, stream, self._supervisor.ready)

    async def _run(self, store: Store) -> None:
        config = self._config
        self._entrances = entrances_of(self._listeners)
        rules = rules_of(config, self._entrances)
        async with open_relay(store, config.pipeline, rules=rules, sync=sync_options(config)) as relay:
            await self._serve(store, relay)

    async def _serve(self, store: Store, relay: Relay) -> None:
        conversations, config, process = self._conversations, self._config, self._process
        origins, stop = process.origins, process.stop
        vitals = Vitals(partial(self._look, relay), relay.count_stored)
        console = await self._open_conversations(relay, vitals)
        page = MetricsPage(partial(self._statistics, relay), self._figures)
        async with (
            attended(
                process,
                page,
                vitals,
                Shortage(),
                lambda: relay.degraded() or conversations.degraded(),
                conversations.gather,
            ) as attending,
            control_line(config.control.place(config.store.backend, config.store.path), conversations.admin),
        ):

            async def prepare(config: Config) -> Callable[[], None]:
                secret = await secret_of_links(relay, config.web, rules_of(config, self._entrances))

                def take() -> None:
                    self._take_options(relay, console, config, secret)
                    attending.take_options(config)

                return take

            async with process.following(prepare, conversations.take_certificate, conversations.obeyed):
                for line in banner(config, store, relay, attending.listeners, self._workers):
                    process.announce(line)
                async with trio.open_nursery() as serving:
                    serving.start_soon(self._stop_workers, stop)
                    await serving.start(partial(self._supervisor.run, stop))
                    if not stop.is_set():
                        for listener in self._listeners:
                            process.announce(place_of(listener))
                        alive = conversations.obeyed if store.is_shared else conversations.settled
                        serving.start_soon(origins.service.run, lambda: attending.config, self._listeners, alive, stop)

    async def _open_conversations(self, relay: Relay, vitals: Vitals) -> Console:
        """Have all that workers hear from here, and ask for, be there before they are; gives what answers operators."""
        conversations, config, origins = self._conversations, self._config, self._process.origins
        sight = WorkersSight(
            lambda: self._statistics(relay)[0],
            conversations.ask_all,
            relay.explaining,
            vitals,
            origins.back_up,
            origins.reload,
        )
        conversations.relay, conversations.admin = relay, AdminApi(relay, sight, origins.settings)
        conversations.vitals, conversations.degraded = vitals, lambda: origins.degraded() or self._mirror_away
        console = await open_console(relay, config.web, conversations.admin, pages_of(config.web), vitals)
        conversations.console = console
        relay.moderation.state.subscribe(conversations.follow)
        relay.retention.follow = conversations.take_floors
        if self._process.files is not None:
            conversations.take_certificate(self._process.files.certified)
        conversations.preambles = [preamble for preamble, _ in self._entrances]
        return console

    def _take_options(self, relay: Relay, console: Console, config: Config, secret: bytes) -> None:
        """Have this process and all workers go by a configuration; sync."""
        logs.configure(config.log)
        relay.take_options(config.pipeline, sync_options(config), rules_of(config, self._entrances))
        take_console(console, relay, config, secret)
        self._supervisor.grace_seconds = _grace_of(config)
        self._conversations.take_config(config)

    def _statistics(self, relay: Relay) -> tuple[RelayStatistics, NetStatistics]:
        own = relay.statistics()
        keeper = KeeperStatistics(
            own.signatures,
            own.store,
            own.retention,
            failure=own.writer.failure,
            loop_lag=self._process.lag.statistics(),
        )
        if self._commits is not None:
            sizes, seconds = self._commits
            keeper = replace(keeper, batches=sizes.statistics(), seconds=seconds.statistics())
        return self._totals.whole(keeper)

    async def _look(self, relay: Relay) -> Look:
        await self._conversations.gather()
        figures = self._figures()
        processes = [figures.keeper, *(one.process for one in figures.workers)]
        cpu, resident = sum(one.cpu_seconds for one in processes), sum(one.resident_bytes for one in processes)
        whole = self._statistics(relay)
        self._mirror_away = longest_away(whole[0].mirrors, relay.now())
        return look_at(time.time(), *whole, cpu, resident)

    def _note_commit(self, events: int, seconds: float) -> None:
        self._commits = self._commits or (Histogram(SIZES), Histogram(SECONDS))
        self._commits[0].observe(events)
        self._commits[1].observe(seconds)

    def _figures(self) -> WorkersFigures:
        return self._totals.figures(self._newest(), self._supervisor.statistics().crashes)

    async def _stop_workers(self, stop: trio.Event) -> None:
        await stop.wait()
        # Nobody is refused while anybody has the socket, and who comes now would wait for workers that end.
        for listener in self._listeners:
            await listener.aclose()
        self._conversations.stop()
