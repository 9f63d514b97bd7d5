"""Room for the filters of all clients: so much of one address, so much in all; what is open holds its part of it."""

from __future__ import annotations

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.limits import Limits
from trio_relay.shares import Lack, Shares


class FilterRoom:
    """What the open filters of the relay count together, see `Filter.weight`.

    Args:
        limits: have the bounds of all and of one address; each connection is held to its own by its session.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.was_full = False
        """Set when somebody finds no room because others have it all, for whoever makes room; it is theirs to reset."""
        self._shares: Shares[str] = Shares(limits.max_filter_values_of_all, limits.max_filter_values_per_address)

    def take_limits(self, limits: Limits) -> None:
        """Go by other limits from now on; what is open stays so."""
        self._limits = limits
        self._shares.bound(limits.max_filter_values_of_all, limits.max_filter_values_per_address)

    @property
    def held(self) -> int:
        """What all of them count now."""
        return self._shares.held

    def take(self, origin: str | None, size: int) -> Rejected | None:
        """Hold room for filters that count so much, to be given back at last; or tell why there is none.

        Args:
            origin: the address, see `Identity`; None: of none.
            size: what they count.
        """
        lack = self._shares.lack(origin, size)
        if lack is None:
            self._shares.take(origin, size)
            return None
        limits = self._limits
        if lack is Lack.ONE:
            most = f"{limits.max_filter_values_per_address} values in the filters of one address"
            return Rejected(Prefix.ERROR, f"at most {most} (max_filter_values_per_address)")
        self.was_full = True
        most = f"{limits.max_filter_values_of_all} values in the filters of all clients"
        return Rejected(Prefix.ERROR, f"at most {most} (max_filter_values_of_all): the relay is full, try again later")

    def give_back(self, origin: str | None, size: int) -> None:
        """Let go of room that was taken."""
        self._shares.give_back(origin, size)
