"""How many WebSocket connections there may be: in all, and of one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from trio_relay.net.addresses import UNKNOWN, Proxies, group

_FULL: Final = (503, b"too many connections\n")
_CROWDED: Final = (429, b"too many connections from this address\n")


class ConnectionLimits:
    """The places for connections, and who has them.

    Connections of a trusted proxy itself, and of peers without an address, count in all but not by address.

    Args:
        most: connections in all.
        most_of_one: connections of one IPv4 address or one IPv6 /64 network; 0: no limit.
        proxies: who is trusted.
    """

    def __init__(self, most: int, most_of_one: int, proxies: Proxies) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._proxies = proxies
        self._all = 0
        self._of_one: Counter[str] = Counter()

    def refusal(self, address: str) -> tuple[int, bytes] | None:
        """The HTTP status and the words for a client at this address for whom there is no place, or None."""
        if self._all >= self._most:
            return _FULL
        if self._counts(address) and self._of_one[group(address)] >= self._most_of_one:
            return _CROWDED
        return None

    @contextmanager
    def taken(self, address: str) -> Iterator[None]:
        """A client at this address has a place meanwhile."""
        one = group(address) if self._counts(address) else ""
        self._all += 1
        self._of_one[one] += 1
        try:
            yield
        finally:
            self._all -= 1
            self._of_one[one] -= 1
            if not self._of_one[one]:
                del self._of_one[one]  # or there would be one for each address that ever came

    def _counts(self, address: str) -> bool:
        return self._most_of_one > 0 and address != UNKNOWN and not self._proxies.is_trusted(address)
