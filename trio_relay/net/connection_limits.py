"""How many WebSocket connections there may be: in all, and of one address."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from trio_relay.net.addresses import UNKNOWN, Proxies, group
from trio_relay.shares import Lack, Shares

_REFUSALS: Final = {
    Lack.ALL: (503, b"too many connections\n"),
    Lack.ONE: (429, b"too many connections from this address\n"),
}


class ConnectionLimits:
    """The places for connections, and who has them.

    Connections of a trusted proxy itself, and of peers without an address, count in all but not by address.

    Args:
        most: connections in all.
        most_of_one: connections of one IPv4 address or one IPv6 /64 network; 0: no limit.
        proxies: who is trusted.
    """

    def __init__(self, most: int, most_of_one: int, proxies: Proxies) -> None:
        self._proxies = proxies
        self._places: Shares[str] = Shares(most, most_of_one)

    def refusal(self, address: str) -> tuple[int, bytes] | None:
        """The HTTP status and the words for a client at this address for whom there is no place, or None."""
        lack = self._places.lack(self.origin(address))
        return None if lack is None else _REFUSALS[lack]

    @contextmanager
    def taken(self, address: str) -> Iterator[None]:
        """A client at this address has a place meanwhile."""
        origin = self.origin(address)
        self._places.take(origin)
        try:
            yield
        finally:
            self._places.give_back(origin)

    def origin(self, address: str) -> str | None:
        """Whom a client at this address counts as: its address or network; None for those that count as nobody."""
        return None if address == UNKNOWN or self._proxies.is_trusted(address) else group(address)
