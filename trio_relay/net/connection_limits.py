"""How many WebSocket connections there may be, in all and of one address, and who makes room where all are taken."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Final, Protocol

from trio_relay.net.addresses import Proxies
from trio_relay.net.close_reasons import CROWDED, IDLE, CloseReason
from trio_relay.places import Places
from trio_relay.shares import Elsewhere, Lack

_REFUSALS: Final = {
    Lack.ALL: (503, b"too many connections\n"),
    Lack.ONE: (429, b"too many connections from this address\n"),
}
LEAST_IDLE: Final = 60.0
"""Seconds. A connection that has nothing open makes room once it has said nothing for so long."""
_AGAIN_SECONDS: Final = 1.0
"""How often it is looked whether one address has more than half of all places."""


class Guest(Protocol):
    """Whoever has a place."""

    @property
    def idle_since(self) -> float | None:
        """Since when it has said nothing and had nothing open; None while it has something open."""

    @property
    def heard(self) -> float | None:
        """When it said something last; None: it is not to be asked to leave."""

    def hang_up(self, close_reason: CloseReason) -> None:
        """Leave soon; sync."""


class _Arriving:
    """Whoever's handshake is being answered."""

    idle_since = None
    heard = None

    def hang_up(self, close_reason: CloseReason) -> None:
        raise AssertionError("who arrives is never idle")


class ConnectionLimits:
    """The places for connections, and who has them.

    Where all are taken, one makes room that has nothing open and has been idle for a minute, of the address that has
    most of those first; and an address that has more than half of all places makes room for others in any case.
    Connections of a trusted proxy itself, and of peers without an address, count in all but not by address.

    Args:
        most: connections in all.
        most_of_one: connections of one IPv4 address or one IPv6 /64 network; 0: no limit.
        proxies: who is trusted.
        elsewhere: the connections of other processes, which count too; one of this process makes room.
    """

    def __init__(self, most: int, most_of_one: int, proxies: Proxies, elsewhere: Elsewhere[str] | None = None) -> None:
        self._most = most
        self._proxies = proxies
        self._places: Places[Guest] = Places(
            most, most_of_one, lambda guest: guest.idle_since, LEAST_IDLE, elsewhere=elsewhere
        )
        self._looked = -math.inf

    def bound(self, most: int, most_of_one: int) -> None:
        """Have other bounds hold for whoever comes from now on."""
        self._most = most
        self._places.bound(most, most_of_one)

    def refusal(self, address: str, now: float) -> tuple[int, bytes] | None:
        """The HTTP status and the words for a client at this address for whom there is no place, or None.

        For its sake another may have been hung up on.

        Args:
            address: where it comes from.
            now: by the clock of the guests.
        """
        origin = self._proxies.origin(address)
        lack = self._places.lack(origin)
        if lack is None or (lack is Lack.ALL and self._has_made_room(origin, now)):
            return None
        return _REFUSALS[lack]

    def _has_made_room(self, origin: str | None, now: float) -> bool:
        guest, reason = self._places.put_out(origin, now), IDLE
        if guest is None and now - self._looked >= _AGAIN_SECONDS:
            half = max(1, self._most // 2)
            guest, reason = self._places.put_out_of_crowd(origin, half, lambda guest: guest.heard), CROWDED
            if guest is None:
                self._looked = now
        if guest is None:
            return False
        guest.hang_up(reason)
        return True

    def taken(self, address: str, guest: Guest | None = None) -> _Taken:
        """A block in which a client at this address has a place; without the guest, nobody can take it from it."""
        return _Taken(self._places, _Arriving() if guest is None else guest, self._proxies.origin(address))


class _Taken:
    """See `ConnectionLimits.taken`."""

    __slots__ = ("_guest", "_origin", "_places")

    def __init__(self, places: Places[Guest], guest: Guest, origin: str | None) -> None:
        self._places = places
        self._guest = guest
        self._origin = origin

    def __enter__(self) -> None:
        self._places.take(self._guest, self._origin)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._places.give_back(self._guest)
