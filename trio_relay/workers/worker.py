"""A worker: a whole relay in a process of its own, over a store that its keeper keeps, with lists that its keeper has.

It ends when its keeper says so, when it gets SIGTERM, and when its keeper is gone.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import structlog
import trio

from trio_relay import heap, logs
from trio_relay.config import Config
from trio_relay.configured import entrances_of, open_store, rules_of, sync_options
from trio_relay.link import Calls, Link, Tells
from trio_relay.loop_lag import LoopLag
from trio_relay.net.admin.sight import OwnSight
from trio_relay.net.clients import Clients
from trio_relay.net.listeners import PLAIN, BoundListener, inherited_listener, with_preamble
from trio_relay.net.server import Server
from trio_relay.net.tls import Tls
from trio_relay.net.web.assembly import doorway, pages_of
from trio_relay.net.web.console import Console
from trio_relay.net.web.site import Site
from trio_relay.peers.mirror_options import MirrorOptions
from trio_relay.peers.mirror_tables import TakeMirrors, open_mirrors
from trio_relay.pipeline.opening import open_relay
from trio_relay.pipeline.relay import Relay
from trio_relay.plugins.hook_modules import judging
from trio_relay.process import open_files, own_use, tune_process
from trio_relay.scoreboard import Scoreboard
from trio_relay.served import Served, endpoints_of, take_console
from trio_relay.store.base import Store
from trio_relay.store.kept import open_kept
from trio_relay.version import __version__
from trio_relay.workers import statistics
from trio_relay.workers.desk import KEEPER_GONE, Desk, RemoteAdmin, RemoteConsole, RemoteVitals
from trio_relay.workers.instructions import (
    MIRRORING,
    Beginning,
    beginning_of,
    certified_of,
    changes_of,
    config_of,
    floors_of,
)
from trio_relay.workers.linked_bus import LinkedBus
from trio_relay.workers.overview import answering
from trio_relay.workers.sharing import share_of
from trio_relay.workers.statistics import ServingStatistics

log = structlog.get_logger("trio_relay.workers")

_TO_THE_RELAY: Final = ("rules", "config", "floors", "certificate")
"""What the keeper tells the relay of a worker."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What a worker serves with that its keeper has or sees, too.

    Attributes:
        config: its share of the configuration.
        scoreboard: has what all of them count together.
        listeners: it accepts from.
        desk: what it does not decide by itself is brought to.
        tls: shows the certificate; None: there is none.
    """

    config: Config
    scoreboard: Scoreboard
    listeners: Sequence[BoundListener]
    desk: Desk
    tls: Tls | None


class ServingWorker:
    """One worker, from its beginning to its end.

    Args:
        number: from 1 on.
        link: to the keeper.
    """

    def __init__(self, number: int, link: Link) -> None:
        self._number = number
        self._link = link
        self._lag = LoopLag()
        self._workers = 1
        self._stop = trio.Event()
        self._begun = trio.Event()
        self._prepared = trio.Event()
        self._beginning: Beginning | None = None
        self._early: list[tuple[str, bytes]] = []
        """What the keeper has said to the relay of this worker before there was one."""
        self._position: Callable[[], int] = lambda: 0
        self._tells: dict[str, Callable[[bytes], Awaitable[None]]] = {"version": _check_version, "begin": self._begin}
        self._calls: dict[str, Callable[[bytes], Awaitable[bytes]]] = {"obey": _obey}

    async def run(self) -> None:
        """Serve until told to end, or until the keeper is gone."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak, nursery.cancel_scope)
            await self._begun.wait()
            assert self._beginning is not None
            nursery.start_soon(self._hear_signals)
            nursery.start_soon(heap.give_back_regularly)
            nursery.start_soon(self._lag.measure)
            await self._serve(self._beginning)
            nursery.cancel_scope.cancel(reason="all is served")

    async def _speak(self, whole: trio.CancelScope) -> None:
        await self._link.run(self._tells, self._calls)
        # What was accepted cannot be stored any more, and nobody would hear of it.
        log.warning("the keeper is gone, so this worker ends")
        whole.cancel(reason=KEEPER_GONE)

    async def _begin(self, payload: bytes) -> None:
        self._beginning = beginning_of(payload)
        self._workers = self._beginning.workers
        self._begun.set()
        await self._prepared.wait()  # what follows is for a store that is open

    async def _hear_signals(self) -> None:
        # SIGHUP is for the keeper, which ends or reads again by it, and reaches all processes of a terminal.
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGTERM:
                    log.info("stopping", signal="SIGTERM")
                    self._stop.set()

    async def _serve(self, beginning: Beginning) -> None:
        config = share_of(beginning.config, beginning.workers)
        logs.configure(config.log, worker=self._number)
        tune_process(config.net.max_connections)
        with Scoreboard.open(beginning.scoreboard, self._number - 1, beginning.workers) as scoreboard:
            listeners = _listeners(beginning, scoreboard)
            rules = rules_of(config, entrances_of(listeners))
            rules.take_floors(beginning.floors)
            desk = Desk(self._link)
            async with (
                self._open_store(config, scoreboard, beginning.newest) as store,
                judging(config.plugins, store) as judges,
                open_relay(
                    store,
                    config.pipeline,
                    rules=rules,
                    sync=sync_options(config),
                    scoreboard=scoreboard,
                    owner=desk,
                    judges=judges,
                ) as relay,
                open_mirrors(relay, store, self._mirrors(config), self._stop) as take_mirrors,
            ):
                tls = None if beginning.certified is None else Tls(beginning.certified)
                given = _Given(config, scoreboard, listeners, desk, tls)
                await self._open(given, relay, take_mirrors)

    def _mirrors(self, config: Config) -> Sequence[MirrorOptions]:
        return config.mirror if self._number == MIRRORING else ()

    @asynccontextmanager
    async def _open_store(self, config: Config, scoreboard: Scoreboard, newest: int) -> AsyncIterator[Store]:
        """Open what this worker reads and writes, and take what the keeper says of it from now on."""
        if config.store.backend == "sqlite":
            async with open_kept(config.store, self._link, scoreboard) as file:
                file.begin(newest)
                self._position = lambda: file.heard_until
                self._hear(file.tells)
                yield file
        else:
            bus = LinkedBus(self._link)
            async with open_store(config, bus) as index:
                self._hear(bus.tells)
                yield index

    def _hear(self, tells: Tells) -> None:
        """Take this from now on, and keep what is for a relay that is not there yet."""

        def keep(name: str) -> Callable[[bytes], Awaitable[None]]:
            async def note(payload: bytes) -> None:
                self._early.append((name, payload))

            return note

        self._tells |= {**tells, **{name: keep(name) for name in _TO_THE_RELAY}, "stop": self._take_stop}
        self._prepared.set()

    async def _take_stop(self, _payload: bytes) -> None:
        self._stop.set()

    async def _open(self, given: _Given, relay: Relay, take_mirrors: TakeMirrors) -> None:
        config, desk = given.config, given.desk
        web, pages, vitals = config.web, pages_of(config.web), RemoteVitals(desk)
        console = doorway(relay, web, pages, vitals)
        site = Site(relay, web, pages, vitals, RemoteConsole(desk, console))
        front = endpoints_of(config, relay, RemoteAdmin(relay, desk), desk.check, desk.degraded, site)
        clients = Clients(relay.now, self._number)
        server = Server(relay, front, config.net, scoreboard=given.scoreboard, tls=given.tls, clients=clients)
        served = Served(relay, server, front, site, entrances_of(given.listeners))
        # Each process's clock of Trio begins somewhere else; this one is the same for all of a machine.
        relay.rates.ahead = time.monotonic() - trio.current_time()
        obeying = self._obeying(served, console, given.tls, take_mirrors)
        # The lists were read before: what has changed since may be in them or not, and is now what it was last.
        for name, payload in self._early:
            await obeying[name](payload)
        self._tells |= obeying
        self._calls |= {**self._answering(served), **answering(OwnSight(relay, clients))}
        async with trio.open_nursery() as serving:
            await serving.start(server.serve, given.listeners, self._stop)
            self._link.tell("ready", b"")

    def _obeying(self, served: Served, console: Console, tls: Tls | None, take_mirrors: TakeMirrors) -> Tells:
        """What is done of what the keeper tells the relay of this worker."""
        relay = served.relay

        async def take_rules(payload: bytes) -> None:
            relay.moderation.state.apply_unstored(changes_of(payload))

        async def take_config(payload: bytes) -> None:
            config = share_of(config_of(payload), self._workers)
            logs.configure(config.log, worker=self._number)
            served.take_options(config)
            take_console(console, relay, config, b"")
            take_mirrors(self._mirrors(config))

        async def take_floors(payload: bytes) -> None:
            relay.rules.take_floors(floors_of(payload))

        async def take_certificate(payload: bytes) -> None:
            if tls is not None:
                tls.take(certified_of(payload))

        return {
            "rules": take_rules,
            "config": take_config,
            "floors": take_floors,
            "certificate": take_certificate,
        }

    def _answering(self, served: Served) -> Calls:
        """What the keeper asks this worker, beside what operators do."""
        relay, server = served.relay, served.server

        async def settle(_payload: bytes) -> bytes:
            await relay.stages.writer.settled()
            return b""

        async def tell_statistics(_payload: bytes) -> bytes:
            net = replace(server.statistics(), loop_lag=self._lag.statistics())
            told = ServingStatistics(relay.statistics(), net, *own_use(), self._position(), open_files())
            return statistics.encode(told)

        async def tell_trouble(_payload: bytes) -> bytes:
            return (await relay.check() or "").encode()

        return {"settle": settle, "statistics": tell_statistics, "check": tell_trouble}


def _listeners(beginning: Beginning, scoreboard: Scoreboard) -> list[BoundListener]:
    """The keeper's, from which all workers accept."""
    inherited = [inherited_listener(fd, scoreboard.is_ahead) for fd in beginning.listeners]
    return list(map(with_preamble, inherited, beginning.preambles or [PLAIN] * len(inherited)))


class OtherVersion(Exception):
    """The program was replaced while its keeper ran, and the two may not understand each other."""


async def _check_version(payload: bytes) -> None:
    if payload.decode() != __version__:
        raise OtherVersion(f"the keeper is of version {payload.decode()}, and this of {__version__}: restart the relay")


async def _obey(_payload: bytes) -> bytes:
    """All that came before this was taken, since the link takes one message after the other; nothing is saved yet."""
    return b""


async def work(number: int, fd: int) -> None:
    """Run a worker over its end of a socket pair."""
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(socket.socket(fileno=fd)))
    await ServingWorker(number, Link(stream)).run()


def main() -> None:
    """Be the worker of the number that is the first argument, over the descriptor that is the second."""
    try:
        trio.run(work, int(sys.argv[1]), int(sys.argv[2]))
    except BaseException as error:
        log.critical("a worker failed", exc_info=error)
        sys.exit(1)


if __name__ == "__main__":
    main()
