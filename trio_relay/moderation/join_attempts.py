"""How often anybody may ask to join or to leave (NIP-43): codes must not be found by trying.

A code that lets nobody in costs as much as ten other requests, so a key has five tries a minute, an address ten, and
all together a thousand: eight random letters and digits would take two thousand years. Whoever has no room for a wrong
code is not told either whether one is right.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import JOIN
from trio_relay.policy.membership import lets_in
from trio_relay.policy.rules import Rules
from trio_relay.shares import Lack, Shares

SECONDS: Final = 60
WRONG_CODE: Final = 10
"""Places that a wrong code takes; other requests take one."""
MOST_OF_KEY: Final = 50
MOST_OF_ORIGIN: Final = 100
MOST: Final = 10_000
_KEPT_FREE: Final = MOST // 2
"""Places for those who have none yet: else a few hundred addresses that try codes would shut out everybody."""
_OF_ONE: Final = (
    f"too many requests to join or to leave within a minute, of which a wrong code counts as {WRONG_CODE};"
    " try again in a minute"
)
_OF_ALL: Final = "too many codes are being tried on this relay; try again in a minute"


class JoinAttempts:
    """The requests of the last minute: so many of a key, of an address, and of all.

    Keys that the operators or the members know are counted apart, and by no address: others cannot shut them out.

    Args:
        rules: tell which codes count, and who is known.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._of_known: Shares[str] = Shares(MOST, MOST_OF_KEY)
        self._of_keys: Shares[str] = Shares(MOST, MOST_OF_KEY)
        self._of_origins: Shares[str] = Shares(MOST, MOST_OF_ORIGIN)
        self._taken: deque[tuple[int, list[tuple[Shares[str], str | None]], int]] = deque()

    def take(self, request: Event, origin: str | None, now: int) -> Rejected | None:
        """Count a request; gives why it may not be made now, and then it is not counted.

        Args:
            request: of one of `membership.REQUESTS`, whose author has authenticated.
            origin: whom the client counts as, see `Identity`.
            now: seconds since 1970.
        """
        self._forget(now)
        if self._rules.is_known(request.pubkey, now):
            places: list[tuple[Shares[str], str | None]] = [(self._of_known, request.pubkey)]
        else:
            places = [(self._of_keys, request.pubkey), (self._of_origins, origin)]
        # Right or wrong, the answer to a code is the same where there is no room for a wrong one.
        needed = WRONG_CODE if request.kind == JOIN else 1
        lacking = [lack for shares, holder in places if (lack := shares.lack(holder, needed)) is not None]
        if Lack.ONE in lacking:
            return Rejected(Prefix.RATE_LIMITED, _OF_ONE)
        if lacking or self._is_to_leave_room(places, needed):
            return Rejected(Prefix.RATE_LIMITED, _OF_ALL)
        size = WRONG_CODE if request.kind == JOIN and not lets_in(request, self._rules, now) else 1
        for shares, holder in places:
            shares.take(holder, size)
        self._taken.append((now, places, size))
        return None

    def _is_to_leave_room(self, places: list[tuple[Shares[str], str | None]], needed: int) -> bool:
        shares, holder = places[-1]
        has_had_some = holder is None or shares.held_by(holder) > 0
        return has_had_some and shares.held + needed > MOST - _KEPT_FREE

    def _forget(self, now: int) -> None:
        """Give back what was taken a minute ago, or later than now: somebody has set the clock."""
        while self._taken and not 0 <= now - self._taken[0][0] < SECONDS:
            _, places, size = self._taken.popleft()
            for shares, holder in places:
                shares.give_back(holder, size)
