"""What runs beside a relay as long as it serves: its metrics, vitals and backups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import structlog
import trio

from trio_relay.backup.regular import Backups
from trio_relay.backup.vaults import vault_of
from trio_relay.config import Config
from trio_relay.configured import METRICS, bounds_of, listened
from trio_relay.main_process import MainProcess
from trio_relay.metrics import MetricsPage, OperationCollector
from trio_relay.net.addresses import Proxies
from trio_relay.net.endpoints import MetricsEndpoint
from trio_relay.net.handed_sockets import listening
from trio_relay.net.http import converse
from trio_relay.net.listeners import BoundListener, PatientListener, Shortage
from trio_relay.net.lobby import Lobby
from trio_relay.net.transport import peer_address
from trio_relay.net.vitals import Vitals

log = structlog.get_logger("trio_relay.app")


class Attending:
    """What runs beside a relay.

    Args:
        config: checked.
        endpoint: has the metrics.
        listeners: where they are listened for.
        backups: made at their time; None: there are none.
    """

    def __init__(
        self, config: Config, endpoint: MetricsEndpoint, listeners: Sequence[BoundListener], backups: Backups | None
    ) -> None:
        self.config = config
        """What the relay goes by now."""
        self.listeners = listeners
        self._endpoint = endpoint
        self._lobby = Lobby(config.metrics.max_connections, 0, Proxies(()).origin)
        self._backups = backups

    def take_options(self, config: Config) -> None:
        """Go by another configuration from now on; sync."""
        self.config = config
        self._lobby.bound(config.metrics.max_connections, 0)
        if self._backups is not None:
            vault = vault_of(config.backup, config.store.backend, config.store, config.opensearch)
            self._backups.take_options(config.backup, vault)

    async def show(self, stream: trio.abc.Stream) -> None:
        """Answer who asks for the metrics over one connection."""
        peer = peer_address(stream)
        if not self._lobby.has_room(peer):
            return
        try:
            with self._lobby.visit(stream, peer) as visit:
                await converse(visit, self._endpoint.answer, self.config.net.handshake_seconds)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has disconnected
        except Exception:
            log.exception("metrics failed")


@asynccontextmanager
async def attended(
    process: MainProcess,
    page: MetricsPage,
    vitals: Vitals,
    shortage: Shortage,
    degraded: Callable[[], str | None],
    gather: Callable[[], Awaitable[None]] | None = None,
) -> AsyncIterator[Attending]:
    """Show the metrics, keep the vitals, and make backups, while the context lasts.

    Args:
        process: in which the relay runs.
        page: has the metrics of the relay, and gets those of what is beside it.
        vitals: of the whole relay.
        shortage: counts connections that could not be accepted.
        degraded: tells what is worse than it should be while all is stored, or None.
        gather: see `MetricsEndpoint`.

    Raises:
        AddressRefused: the address of the metrics cannot be listened on.
    """
    config, backups = process.config, process.origins.backups
    async with (
        listening(listened(config)[METRICS], process.handed, METRICS) as listeners,
        trio.open_nursery() as watching,
    ):
        attending = Attending(config, MetricsEndpoint(page.render, gather), listeners, backups)
        page.add(OperationCollector(degraded, lambda: bounds_of(attending.config)))
        process.origins.add_metrics(page)
        if listeners:
            patient = [PatientListener(listener, shortage) for listener in listeners]
            watching.start_soon(trio.serve_listeners, attending.show, patient)
        watching.start_soon(vitals.run)
        if backups is not None:
            watching.start_soon(backups.run)
        yield attending
        watching.cancel_scope.cancel(reason="the relay has stopped")
