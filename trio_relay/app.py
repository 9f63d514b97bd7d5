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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed

import structlog
import trio

from trio_relay import heap, logs
from trio_relay.attending import attended, listened, listening
from trio_relay.backup.regular import BackupCollector, Backups
from trio_relay.banner import banner, place_of
from trio_relay.config import Config
from trio_relay.configured import bounds_of, bus_of, open_store, rules_of, sync_options
from trio_relay.loop_lag import LoopLag
from trio_relay.metrics import MetricsPage, OperationCollector
from trio_relay.net.admin.api import AdminApi
from trio_relay.net.admin.sight import BackUpNow, OwnSight, ReloadNow, SettingsShown, no_settings
from trio_relay.net.clients import Clients
from trio_relay.net.control import control_line
from trio_relay.net.endpoints import MetricsEndpoint
from trio_relay.net.handed_sockets import HandedSockets, assigned
from trio_relay.net.listeners import BoundListener
from trio_relay.net.server import Server
from trio_relay.net.tls import Tls
from trio_relay.net.vitals import Look, Vitals, look_at
from trio_relay.net.web.assembly import open_console, pages_of, secret_of_links
from trio_relay.net.web.site import Site
from trio_relay.peers.mirror_tables import open_mirrors
from trio_relay.pipeline.opening import open_relay
from trio_relay.pipeline.relay import Relay
from trio_relay.plugins.hook_modules import judging
from trio_relay.process import own_use, tune_process
from trio_relay.reloading import Reloading
from trio_relay.served import Served, endpoints_of, take_console
from trio_relay.service import Service, unless_stopped
from trio_relay.store.base import Store
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


async def hear_signals(stop: trio.Event, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Stop on the first signal; raise `StoppedNow` on the second."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                raise StoppedNow
            log.info("stopping", signal=signal.Signals(number).name, hint="once more to stop now")
            stop.set()
