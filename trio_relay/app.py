"""The running relay: opens store, relay and listeners in this order, waits for a signal, and closes in reverse.

main
└─ store                  closes last
   └─ relay               its stages end one after another, each after its last batch
      ├─ metrics          its listener stays open until the server has stopped
      └─ server           connections, and inside them the listeners, which close first
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace as changed

import trio

from trio_relay import logs
from trio_relay.attending import attended
from trio_relay.banner import banner, place_of
from trio_relay.config import Config
from trio_relay.configured import bus_of, entrances_of, open_store, rules_of, sync_options
from trio_relay.main_process import Announce, MainProcess, Origins, main_process
from trio_relay.metrics import MetricsPage
from trio_relay.net.admin.api import AdminApi
from trio_relay.net.admin.sight import OwnSight
from trio_relay.net.clients import Clients
from trio_relay.net.control import control_line
from trio_relay.net.handed_sockets import listening
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
from trio_relay.process import own_use
from trio_relay.served import Served, endpoints_of, take_console
from trio_relay.store.base import Store


async def main(config: Config, announce: Announce, origins: Origins) -> None:
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
    # All addresses before the first connection: a relay that cannot listen on all of them does not start.
    async with (
        main_process(config, announce, origins) as process,
        open_store(config, bus_of(config), origins.service.turn(config, process.stop)) as store,
        listening(config.net.listen, process.handed) as listeners,
        judging(config.plugins, store) as judges,
        open_relay(
            store,
            config.pipeline,
            rules=rules_of(config, entrances_of(listeners)),
            sync=sync_options(config),
            judges=judges,
        ) as relay,
    ):
        await _serve(process, store, relay, listeners)


async def _serve(process: MainProcess, store: Store, relay: Relay, listeners: Sequence[BoundListener]) -> None:
    config, origins, stop = process.config, process.origins, process.stop
    entrances = entrances_of(listeners)

    async def look() -> Look:
        return look_at(time.time(), relay.statistics(), server.statistics(), *own_use())

    clients = Clients(relay.now)
    vitals = Vitals(look, relay.count_stored)
    api = AdminApi(relay, OwnSight(relay, clients, vitals, origins.back_up, origins.reload), origins.settings)
    pages = pages_of(config.web)
    console = await open_console(relay, config.web, api, pages, vitals)
    site = Site(relay, config.web, pages, vitals, console)
    front = endpoints_of(config, relay, api, relay.check, origins.degraded, site)
    tls = None if process.files is None else Tls(process.files.certified)
    server = Server(relay, front, config.net, tls=tls, clients=clients)
    served = Served(relay, server, front, site, entrances)
    page = MetricsPage(lambda: (relay.statistics(), changed(server.statistics(), loop_lag=process.lag.statistics())))
    async with (
        attended(process, page, vitals, server.shortage, lambda: relay.degraded() or origins.degraded()) as attending,
        open_mirrors(relay, store, config.mirror, stop) as take_mirrors,
        control_line(config.control.place(config.store.backend, config.store.path), api),
    ):

        async def prepare(config: Config) -> Callable[[], None]:
            secret = await secret_of_links(relay, config.web, rules_of(config, entrances))

            def take() -> None:
                logs.configure(config.log)
                served.take_options(config)
                take_console(console, relay, config, secret)
                take_mirrors(config.mirror)
                attending.take_options(config)

            return take

        async with process.following(prepare, (lambda _certified: None) if tls is None else tls.take):
            for line in banner(config, store, relay, attending.listeners):
                process.announce(line)
            async with trio.open_nursery() as serving:
                await serving.start(server.serve, listeners, stop)
                for listener in listeners:
                    process.announce(place_of(listener))
                alive = trio.lowlevel.checkpoint if store.is_shared else relay.stages.writer.settled
                serving.start_soon(origins.service.run, lambda: attending.config, listeners, alive, stop)
