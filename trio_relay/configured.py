"""What a configuration makes of the parts of a relay: its store and bus, its rules, the bounds of its metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from itertools import starmap
from operator import attrgetter
from pathlib import Path
from typing import Final, TypeAlias

from msgspec.structs import replace

from trio_relay import bus
from trio_relay.bus import Bus
from trio_relay.config import Config, is_private, plain_addresses
from trio_relay.memory_budget import SHARES
from trio_relay.net.handed_sockets import CLIENTS
from trio_relay.net.listeners import BoundListener, Preamble, bound_address, preamble_of, split_preamble
from trio_relay.net.web.public import with_pictures
from trio_relay.pipeline.options import SyncOptions
from trio_relay.policy.retention import Retention
from trio_relay.policy.rules import Rules
from trio_relay.service import Again
from trio_relay.store import opensearch
from trio_relay.store.base import Store, StoreRefused
from trio_relay.store.memory import MemoryStore
from trio_relay.store.sqlite import open_sqlite

METRICS: Final = "metrics.listen"

Entrance: TypeAlias = tuple[Preamble, str]
"""What connections begin with, and the address that they come to."""


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


def entrances_of(listeners: Sequence[BoundListener]) -> list[Entrance]:
    """What connections to listeners begin with, and their addresses; to be asked before they are closed."""
    return [(preamble_of(listener), bound_address(listener)) for listener in listeners]


def rules_of(config: Config, entrances: Sequence[Entrance] = ()) -> Rules:
    """Make the rules for events and requests from the configuration.

    Args:
        config: checked.
        entrances: of the relay, if it listens: they tell the port if the configuration leaves it to the system.
    """
    names = [*([config.relay.url] if config.relay.url else []), *config.relay.also_known_as]
    if not config.relay.url and is_private(config):  # only clients on this machine have to know its names
        names = [*starmap(_local_name, entrances or map(split_preamble, config.net.listen)), *names]
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


def listened(config: Config) -> dict[str, Sequence[str]]:
    """Return all addresses where a manager may listen for the relay, by the name of their setting."""
    return {CLIENTS: config.net.listen, METRICS: (config.metrics.listen,) if config.metrics.listen else ()}
