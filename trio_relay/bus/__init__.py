"""What relays that share a store tell one another at once.

The bus is a hint, never the truth: what it loses is in the store, and it says that it may have lost something. All but
its promises and its settings is loaded once it is asked for, since most relays have none.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trio_relay.bus.base import Bus, BusStatistics, Gap, Heard, Note, Take
from trio_relay.bus.options import BusOptions

if TYPE_CHECKING:
    from trio_relay.bus.entries import Entry, Reach, Unreadable, decode, encode
    from trio_relay.bus.hub import Hub, HubMember
    from trio_relay.bus.ledger import Ledger
    from trio_relay.bus.member import StreamBus
    from trio_relay.bus.outgoing import Outgoing
    from trio_relay.bus.redis_stream import BusRefused, RedisStream, facts_of_server, open_redis_bus
    from trio_relay.bus.stream import Stream, StreamAway, StreamLine

__all__ = [
    "Bus",
    "BusOptions",
    "BusRefused",
    "BusStatistics",
    "Entry",
    "Gap",
    "Heard",
    "Hub",
    "HubMember",
    "Ledger",
    "Note",
    "Outgoing",
    "Reach",
    "RedisStream",
    "Stream",
    "StreamAway",
    "StreamBus",
    "StreamLine",
    "Take",
    "Unreadable",
    "decode",
    "encode",
    "facts_of_server",
    "open_redis_bus",
]

_MODULES = {
    "BusRefused": "redis_stream",
    "Entry": "entries",
    "Hub": "hub",
    "HubMember": "hub",
    "Ledger": "ledger",
    "StreamLine": "stream",
    "Outgoing": "outgoing",
    "Reach": "entries",
    "RedisStream": "redis_stream",
    "Stream": "stream",
    "StreamAway": "stream",
    "StreamBus": "member",
    "Unreadable": "entries",
    "decode": "entries",
    "encode": "entries",
    "facts_of_server": "redis_stream",
    "open_redis_bus": "redis_stream",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
