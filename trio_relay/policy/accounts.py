"""The account that each connection draws on, for what it brings and for the work that its requests make (pure, no I/O).

An account is that of a connection, of the address that it counts under, and of the keys that it has authenticated:
what is charged to it is charged to all of them, so that neither many connections nor many keys gain anything.
"""

from __future__ import annotations

from typing import Final

from trio_relay.nostr.errors import Rejected

SECONDS_A_BYTE: Final = 5e-9
"""What a byte that is sent counts as, beside the time in which it was looked up: a live delivery of 600 bytes 3 µs, a
hundred megabytes half a second. Looking up, framing and sending long answers takes 2 ns a byte."""
_SETTLED_SECONDS: Final = 0.001
"""Work that is noted before the buckets are told: a live delivery takes microseconds."""


class Account:
    """What one connection draws on."""

    __slots__ = ("_owed",)

    def __init__(self) -> None:
        self._owed = 0.0

    def charge(self, seconds: float, now: float) -> None:
        """A request of this client's has taken so much work; whether it may go on, its next `refusal` says.

        Args:
            seconds: of database and loop, with something for the bytes that were sent.
            now: Trio's time.
        """
        self._owed += seconds
        if self._owed > _SETTLED_SECONDS:
            self._settle(now)

    def refusal(self, verb: str, now: float) -> Rejected | None:
        """Why a request that makes work is not taken now; None if it is.

        Args:
            verb: of the message: REQ, COUNT, NEG-OPEN, NEG-MSG.
            now: Trio's time.
        """
        if self._owed:
            self._settle(now)
        return None

    def _settle(self, now: float) -> None:
        """Tell the buckets what has been noted."""
        self._owed = 0.0


NO_ACCOUNT: Final = Account()
"""Of who is held to no limit."""
