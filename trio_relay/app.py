"""The running relay: opens store, relay and listeners in this order, waits for a signal, and closes in reverse.

main
└─ store                  closes last
   └─ relay               its stages end one after another, each after its last batch
      ├─ metrics          its listener stays open until the server has stopped
      └─ server           connections, and inside them the listeners, which close first
"""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from dataclasses import replace as changed
from itertools import starmap
from operator import attrgetter
from pathlib import Path

import structlog
import trio
from msgspec.structs import replace

from trio_relay import bus, heap, logs
from trio_relay.attending import attended, listened, listening
from trio_relay.backup.regular import BackupCollector, Backups
from trio_relay.banner import banner, place_of
from trio_relay.bus import Bus
from trio_relay.config import Config, is_private, plain_addresses
from trio_relay.loop_lag import LoopLag
from trio_relay.memory_budget import SHARES
from trio_relay.metrics import MetricsPage, OperationCollector
from trio_relay.net.admin.api import AdminApi
from trio_relay.net.admin.sight import BackUpNow, OwnSight, ReloadNow, SettingsShown, no_settings
from trio_relay.net.clients import Clients
from trio_relay.net.control import control_line
from trio_relay.net.endpoints import Endpoints, Management, MetricsEndpoint
from trio_relay.net.handed_sockets import HandedSockets, assigned
from trio_relay.net.listeners import (
    BoundListener,
    Preamble,
    bound_address,
    preamble_of,
    split_preamble,
)
from trio_relay.net.server import Server
from trio_relay.net.tls import Tls
from trio_relay.net.vitals import Look, Vitals, look_at
from trio_relay.net.web.assembly import has_links, open_console, pages_of, secret_of_links
from trio_relay.net.web.console import Console
from trio_relay.net.web.public import with_pictures
from trio_relay.net.web.site import Site
from trio_relay.peers.mirror_tables import open_mirrors
from trio_relay.pipeline.opening import open_relay
from trio_relay.pipeline.options import SyncOptions
from trio_relay.pipeline.relay import Relay
from trio_relay.plugins.hook_modules import judging
from trio_relay.policy.retention import Retention
from trio_relay.policy.rules import Rules
from trio_relay.process import make_room, own_use, tune_process
from trio_relay.reloading import Reloading
from trio_relay.service import Again, Service, unless_stopped
from trio_relay.store import opensearch
from trio_relay.store.base import Store, StoreRefused
from trio_relay.store.memory import MemoryStore
from trio_relay.store.sqlite import open_sqlite
from trio_relay.tls_files import TlsFiles, tls_files

log = structlog.get_logger("trio_relay.app")


class StoppedNow(Exception):
    """A second signal came: the relay stops without waiting for anything."""


@dataclass(frozen=True, slots=True)
class Origins:
    """What a relay knows beside its configuration: where that comes from, and what its program can do for it.

    Attributes:
        reloading: reads the configuration again; None: there is nothing to read it from.
        backups: made regularly and when somebody asks; None: there is no way to.
        service: what a service manager gave this process, and is told by it.
    """

    reloading: Reloading | None = None
    backups: Backups | None = None
    service: Service = field(default_factory=Service)

    @property
    def settings(self) -> SettingsShown:
        """Tells all of them, as operators may see them."""
        return no_settings if self.reloading is None else self.reloading.settings

    @property
    def reload(self) -> ReloadNow | None:
        """What has the configuration read again."""
        return None if self.reloading is None else self.reloading.reload_now

    @property
    def back_up(self) -> BackUpNow | None:
        """What makes a backup now."""
        return None if self.backups is None else self.backups.make_now

    def add_metrics(self, page: MetricsPage) -> None:
        """Have the metrics page show what goes on beside the relay, too."""
        if self.backups is not None:
            page.add(BackupCollector(self.backups.statistics))

    def degraded(self) -> str | None:
        """What is wrong with what goes on beside the relay, or None."""
        return None if self.backups is None else self.backups.degraded()


async def main(config: Config, announce: Callable[[str], None], origins: Origins) -> None:
    """Run a relay until SIGINT or SIGTERM, then stop it gracefully.

    Args:
        config: checked.
        announce: called with each line for the operator: the banner, then `listening on …` once it listens.
        origins: what it knows beside that.

    Raises:
        TlsRefused: the certificate or its key cannot be used.
        StoreRefused: the store cannot be opened.
        AddressRefused: an address cannot be listened on, or a socket that was handed over is in no setting.
        ExceptionGroup: a part of the relay failed, so everything was stopped.
        StoppedNow: a second signal came while it was stopping; in a group.
    """
    tune_process(config.net.max_connections)
    files = tls_files(config.net)
    stop = trio.Event()
    async with trio.open_nursery() as root:
        await root.start(hear_signals, stop)
        root.start_soon(heap.give_back_regularly)
        root.start_soon((lag := LoopLag()).measure)
        handed = await assigned(origins.service.sockets, listened(config))
        # All addresses before the first connection: a relay that cannot listen on all of them does not start.
        with unless_stopped(stop):
            async with (
                open_store(config, bus_of(config), origins.service.turn(config, stop)) as store,
                listening(config.net.listen, handed) as listeners,
                judging(config.plugins, store) as judges,
                open_relay(
                    store, config.pipeline, rules=rules_of(config, listeners), sync=sync_options(config), judges=judges
                ) as relay,
            ):
                await _serve(config, store, relay, listeners, handed, stop, announce, origins, files, lag)
        root.cancel_scope.cancel(reason="the relay has stopped")


@asynccontextmanager
async def open_store(config: Config, told: Bus | None = None, again: Again | None = None) -> AsyncIterator[Store]:
    """Open the store that the configuration names, for as long as the context lasts.

    Args:
        config: checked.
        told: the bus over which relays that share the store tell each other; commands that are no relay need none.
        again: waits for a process that has it; None: it is refused then.

    Raises:
        StoreRefused: it cannot be opened.
    """
    opened: AbstractAsyncContextManager[Store]
    if config.store.backend == "memory":
        opened = nullcontext(MemoryStore(archiving=config.store.archiving))
    elif config.store.backend == "opensearch":
        opened = opensearch.open_opensearch(config.opensearch, bus=told, archiving=config.store.archiving)
    else:
        has_folder = not is_shared(Path(config.store.path).parent, config)
        opened = open_sqlite(config.store, has_folder=has_folder, again=again)
    async with opened as store:
        yield store


def bus_of(config: Config) -> Bus | None:
    """Return this relay's side of the bus that the configuration names, which is connected once the store is open.

    Raises:
        StoreRefused: it cannot be used as it is set up.
    """
    if not config.bus.url:
        return None
    try:
        return bus.open_redis_bus(config.bus, config.opensearch.prefix)
    except bus.BusRefused as refused:
        raise StoreRefused(str(refused)) from refused


def is_shared(folder: Path, config: Config) -> bool:
    """Return True if a proxy has to reach a Unix socket in this folder."""
    addresses = (*plain_addresses(config.net), config.metrics.listen)
    sockets = [Path(address.removeprefix("unix:")) for address in addresses if address.startswith("unix:")]
    return folder.resolve() in [socket.parent.resolve() for socket in sockets]


def rules_of(config: Config, listeners: Sequence[BoundListener] = ()) -> Rules:
    """Make the rules for events and requests from the configuration.

    Args:
        config: checked.
        listeners: open ones, if any: they tell the port if the configuration leaves it to the system.
    """
    names = [*([config.relay.url] if config.relay.url else []), *config.relay.also_known_as]
    if not config.relay.url and is_private(config):  # only clients on this machine have to know its names
        bound = [(preamble_of(listener), bound_address(listener)) for listener in listeners]
        names = [*starmap(_local_name, bound or map(split_preamble, config.net.listen)), *names]
    return Rules(
        config.limits,
        config.policy,
        config.members,
        with_pictures(config.relay, config.web, names[0] if names else ""),
        names[0] if names else "",
        has_search=config.store.search,
        search_prefix=config.store.search_prefix,
        has_sync=config.sync.enabled,
        also_known_as=tuple(names[1:]),
        rates=config.rates,
        retention=Retention(
            config.retention, config.store.max_events, config.store.max_bytes, config.store.retention_seconds
        ),
    )


def _local_name(preamble: Preamble, address: str) -> str:
    return f"{'wss' if preamble.tls else 'ws'}://{address}/"


def sync_options(config: Config) -> SyncOptions:
    """Return the configured options, with messages short enough for an outbox: on the wire they are hex."""
    return replace(config.sync, frame_bytes=min(config.sync.frame_bytes, config.net.outbox_bytes // 4))


def bounds_of(config: Config) -> dict[str, float]:
    """Return the settings that bound what metrics count, by their names."""
    names = ("memory.total_bytes", "backup.every_seconds", *SHARES)
    return {name: attrgetter(name)(config) for name in names}


def urls_of(config: Config, rules: Rules) -> tuple[str, ...]:
    """Return whose paths are served: the relay's names, and the paths that the configuration adds."""
    return *rules.names, *config.net.paths


def greeting_of(config: Config) -> str:
    """Return the line for whoever opens the relay's address in a browser."""
    return f"{config.relay.name}: a Nostr relay. Connect to it with a Nostr client.\n"


def endpoints_of(
    config: Config,
    relay: Relay,
    management: Management,
    check: Callable[[], Awaitable[str | None]],
    degraded: Callable[[], str | None],
    site: Site,
) -> Endpoints:
    """Return what is answered over HTTP.

    Args:
        config: checked.
        relay: of this process.
        management: answers operators.
        check: tells why the whole relay cannot store events now, or None.
        degraded: tells what is worse than it should be beside the relay of this process, or None; asked after `check`.
        site: answers browsers, if the configuration wants that.
    """
    return Endpoints(
        relay.document,
        check,
        greeting_of(config),
        management,
        urls_of(config, relay.rules),
        lambda: relay.degraded() or degraded(),
        relay.judges.connections,
        site if config.web.enabled else None,
    )


@dataclass(frozen=True, slots=True)
class Served:
    """A relay and all by which a process serves clients with it, which go by another configuration together."""

    relay: Relay
    server: Server
    front: Endpoints
    site: Site
    listeners: Sequence[BoundListener]

    def take_options(self, config: Config) -> None:
        """Go by this configuration from now on, for those who are here already, too; sync, and does not fail."""
        relay, site = self.relay, self.site
        make_room(config.net.max_connections)
        relay.judges.exemptions.take_options(config.plugins)
        relay.take_options(config.pipeline, sync_options(config), rules_of(config, self.listeners))
        site.take_options(config.web)
        urls = urls_of(config, relay.rules)
        self.front.take_options(greeting_of(config), urls, site if config.web.enabled else None)
        self.server.take_options(config.net)


async def _serve(
    config: Config,
    store: Store,
    relay: Relay,
    listeners: Sequence[BoundListener],
    handed: HandedSockets,
    stop: trio.Event,
    announce: Callable[[str], None],
    origins: Origins,
    files: TlsFiles | None,
    lag: LoopLag,
) -> None:
    async def look() -> Look:
        return look_at(time.time(), relay.statistics(), server.statistics(), *own_use())

    clients = Clients(relay.now)
    vitals = Vitals(look, relay.count_stored)
    api = AdminApi(relay, OwnSight(relay, clients, vitals, origins.back_up, origins.reload), origins.settings)
    pages = pages_of(config.web)
    console = await open_console(relay, config.web, api, pages, vitals)
    site = Site(relay, config.web, pages, vitals, console)
    front = endpoints_of(config, relay, api, relay.check, origins.degraded, site)
    tls = None if files is None else Tls(files.certified)
    server = Server(relay, front, config.net, tls=tls, clients=clients)
    served = Served(relay, server, front, site, listeners)
    bounds = bounds_of(config)
    page = MetricsPage(lambda: (relay.statistics(), changed(server.statistics(), loop_lag=lag.statistics())))
    page.add(OperationCollector(lambda: relay.degraded() or origins.degraded(), lambda: bounds))
    origins.add_metrics(page)
    endpoint = MetricsEndpoint(page.render)
    async with (
        attended(config, endpoint, vitals, server.shortage, origins.backups, handed) as attending,
        open_mirrors(relay, store, config.mirror, stop) as take_mirrors,
        control_line(config.control.place(config.store.backend, config.store.path), api),
        trio.open_nursery() as following,
    ):

        async def prepare(config: Config) -> Callable[[], None]:
            secret = await secret_of_links(relay, config.web, rules_of(config, listeners))

            def take() -> None:
                logs.configure(config.log)
                served.take_options(config)
                take_console(console, relay, config, secret)
                take_mirrors(config.mirror)
                attending.take_options(config)
                bounds.update(bounds_of(config))

            return take

        if origins.reloading is not None:
            origins.reloading.serve(prepare, files, (lambda _certified: None) if tls is None else tls.take)
            await following.start(origins.reloading.run)
        for line in banner(config, store, relay, attending.listeners):
            announce(line)
        async with trio.open_nursery() as serving:
            await serving.start(server.serve, listeners, stop)
            for listener in listeners:
                announce(place_of(listener))
            alive = trio.lowlevel.checkpoint if store.is_shared else relay.stages.writer.settled
            serving.start_soon(origins.service.run, config, listeners, alive, stop)
        following.cancel_scope.cancel(reason="the relay has stopped")


def take_console(console: Console, relay: Relay, config: Config, secret: bytes) -> None:
    """Have a console go by a configuration, which its relay goes by already; sync."""
    console.take_options(config.web.session_seconds, secret, has_links=has_links(config.web, relay.rules))


async def hear_signals(stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Stop on the first signal; raise `StoppedNow` on the second."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                raise StoppedNow
            log.info("stopping", signal=signal.Signals(number).name, hint="once more to stop now")
            stop.set()
