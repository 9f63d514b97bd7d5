"""Which addresses are shut out: those of the configuration, and those on the operators' list (NIP-86)."""

from __future__ import annotations

from collections.abc import Callable

from trio_relay.net.addresses import AddressList, Entry
from trio_relay.policy.lists import Name
from trio_relay.policy.rules import Rules


class BlockedAddresses:
    """Looks up both lists; `refresh` it when the operators' has changed.

    Args:
        rules: have both.
        now: tells the time, seconds since 1970.

    Raises:
        ValueError: the configuration names what is neither an address nor a network.
    """

    def __init__(self, rules: Rules, now: Callable[[], int]) -> None:
        self._rules = rules
        self._now = now
        self._denied = AddressList(map(Entry, rules.options.denied_addresses))
        self.refresh()

    def refresh(self) -> None:
        """Be what the operators' list says now."""
        entries = self._rules.lists.entries(Name.BLOCKED_ADDRESSES, 0)
        self._listed = AddressList(Entry(address, entry.reason, entry.until) for address, entry in entries.items())

    def covers(self, address: str) -> bool:
        """True if nobody at this address is served."""
        return self._denied.covers(address, 0) or self._listed.covers(address, self._now())
