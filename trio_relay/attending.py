"""What runs beside a relay as long as it serves: its metrics, vitals, backups, and the lists that stand in files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import structlog
import trio

from trio_relay.backup.regular import Backups
from trio_relay.config import Config
from trio_relay.list_files import ListFiles
from trio_relay.net.addresses import Proxies
from trio_relay.net.endpoints import MetricsEndpoint
from trio_relay.net.handed_sockets import HandedSockets
from trio_relay.net.http import converse
from trio_relay.net.listeners import BoundListener, PatientListener, Shortage, open_listeners
from trio_relay.net.lobby import Lobby
from trio_relay.net.options import NetOptions
from trio_relay.net.transport import peer_address
from trio_relay.net.vitals import Vitals
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.options import PolicyOptions

log = structlog.get_logger("trio_relay.app")

CLIENTS: Final = "net.listen"
METRICS: Final = "metrics.listen"


@asynccontextmanager
async def attended(
    config: Config,
    relay: Relay,
    endpoint: MetricsEndpoint,
    vitals: Vitals,
    shortage: Shortage,
    lists: ListFiles | None,
    changed: Callable[[PolicyOptions], None],
    backups: Backups | None,
    handed: HandedSockets,
) -> AsyncIterator[Sequence[BoundListener]]:
    """Show the metrics, keep the vitals, follow lists that stand in files, and make backups, while the context lasts.

    Args:
        config: checked.
        relay: its rules go by the lists.
        endpoint: has the metrics.
        vitals: of the whole relay.
        shortage: counts connections that could not be accepted.
        lists: sees when lists of the configuration change; None if none stands in a file.
        changed: told of them, once the rules go by them; sync.
        backups: made at their time; None: there are none.
        handed: sockets that are taken instead of being bound.

    Returns:
        Where the metrics are listened for.

    Raises:
        AddressRefused: their address cannot be listened on.
    """

    def take(options: PolicyOptions) -> None:
        relay.rules.take_options(options)
        changed(options)

    async with (
        listening(listened(config)[METRICS], handed, METRICS) as listeners,
        trio.open_nursery() as watching,
    ):
        if listeners:
            lobby = Lobby(config.metrics.max_connections, 0, Proxies(()).origin)
            patient = [PatientListener(listener, shortage) for listener in listeners]
            watching.start_soon(trio.serve_listeners, partial(show, endpoint, config.net, lobby), patient)
        watching.start_soon(vitals.run)
        if lists is not None:
            watching.start_soon(lists.run, config.policy, take)
        if backups is not None:
            watching.start_soon(backups.run)
        yield listeners
        watching.cancel_scope.cancel(reason="the relay has stopped")


@asynccontextmanager
async def listening(
    addresses: Sequence[str], handed: HandedSockets | None = None, setting: str = CLIENTS
) -> AsyncIterator[list[BoundListener]]:
    """Listen on these addresses for as long as the context lasts.

    Args:
        addresses: as they stand in the setting.
        handed: sockets that are taken instead of being bound; None: there are none.
        setting: that has the addresses.

    Raises:
        AddressRefused: one cannot be listened on.
    """
    async with AsyncExitStack() as opened:
        yield [
            await opened.enter_async_context(listener)
            for address in addresses
            for listener in (handed and handed.take(setting, address)) or await open_listeners(address)
        ]


def listened(config: Config) -> dict[str, Sequence[str]]:
    """Return all addresses where a manager may listen for the relay, by the name of their setting."""
    return {CLIENTS: config.net.listen, METRICS: (config.metrics.listen,) if config.metrics.listen else ()}


async def show(endpoint: MetricsEndpoint, options: NetOptions, lobby: Lobby, stream: trio.abc.Stream) -> None:
    """Answer who asks for the metrics over one connection."""
    peer = peer_address(stream)
    if not lobby.has_room(peer):
        return
    try:
        with lobby.visit(stream, peer) as visit:
            await converse(visit, endpoint.answer, options.handshake_seconds)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client has disconnected
    except Exception:
        log.exception("metrics failed")
