"""An account that refuses nothing and remembers what it was charged."""

from __future__ import annotations

from trio_relay.policy import accounts


class Ledger(accounts.Account):
    """Notes each charge, in seconds, in `charged`."""

    def __init__(self) -> None:
        super().__init__()
        self.charged: list[float] = []

    def charge(self, seconds: float, now: float) -> None:
        """See `Account.charge`."""
        self.charged.append(seconds)
        super().charge(seconds, now)
