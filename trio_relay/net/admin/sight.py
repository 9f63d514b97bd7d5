"""What can be seen of a running relay, and done to it, beside its lists: of one process, or of all workers together."""

from __future__ import annotations

from typing import Protocol

from trio_relay.net.clients import ClientRecord, Clients
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.statistics import RelayStatistics


class Sight(Protocol):
    """What methods ask of a relay as it runs."""

    def statistics(self) -> RelayStatistics:
        """How all stages are."""
        ...

    async def clients(self) -> list[ClientRecord]:
        """Who is connected, at most `clients.MOST_LISTED`; who has made most work first."""
        ...

    async def hang_up(self, client: str, reason: str) -> bool:
        """End the connection of a client of this name, see `ClientRecord`; False if there is none."""
        ...


class OwnSight:
    """Of a relay that is this process alone.

    Args:
        relay: which one.
        clients: of its server; None: nobody is seen.
    """

    def __init__(self, relay: Relay, clients: Clients | None = None) -> None:
        self._relay = relay
        self._clients = clients or Clients()

    def statistics(self) -> RelayStatistics:
        return self._relay.statistics()

    async def clients(self) -> list[ClientRecord]:
        return await self._clients.list()

    async def hang_up(self, client: str, reason: str) -> bool:
        return self._clients.hang_up(client, reason)
