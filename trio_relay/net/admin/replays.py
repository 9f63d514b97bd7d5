"""The memory of signed requests that have changed something, so that each does so once (NIP-98)."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

from trio_relay.nostr.auth import HTTP_AUTH_SECONDS
from trio_relay.nostr.event import Event
from trio_relay.shares import Lack, Shares

MOST: Final = 10_000
"""Changes that are remembered of all moderators, and of each admin."""
MOST_OF_ONE: Final = 1_000
"""Changes that are remembered of one moderator."""
_MOST_OF_ADMINS: Final = 100_000
_MINUTES: Final = 2 * HTTP_AUTH_SECONDS // 60


class Replayed(Exception):
    """An event that may not be used (any more); the message says so."""


class TooManyChanges(Exception):
    """There is no room now for one more event of this key; the message says when there is."""


class Replays:
    """Remembers the events that were used, for as long as they could be used again.

    Nothing is forgotten before it is too old to pass `check_http_auth`: whoever has used up its share waits. Each key
    has one, so that nobody can shut others out; and moderators, whatever they do together, leave the admins theirs.

    Args:
        most: of all moderators, and of each admin.
        most_of_one: of one moderator.
    """

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._of_moderators: Shares[str] = Shares(most, most_of_one)
        self._of_admins: Shares[str] = Shares(_MOST_OF_ADMINS, most)
        self._used: set[str] = set()
        self._ages: list[tuple[int, str, str, Shares[str]]] = []

    def use(self, event: Event, now: int, *, is_admin: bool = False) -> None:
        """Let an event be used, once.

        Args:
            event: of a key that may call something: others cannot fill this.
            now: seconds since 1970.
            is_admin: whether the key is an admin's.

        Raises:
            Replayed: it was used, or is too old to tell.
            TooManyChanges: its key has no room now.
        """
        oldest = now - HTTP_AUTH_SECONDS
        while self._ages and self._ages[0][0] < oldest:
            _, event_id, pubkey, shares = heappop(self._ages)
            self._used.discard(event_id)
            shares.give_back(pubkey)
        if event.created_at < oldest or event.id in self._used:
            raise Replayed("this event was used already; every change needs a new one")
        shares = self._of_admins if is_admin else self._of_moderators
        if (lack := shares.lack(event.pubkey)) is not None:
            one = f"this key has made {shares.held_by(event.pubkey):,} changes"
            who = one if lack is Lack.ONE else "moderators have made too many changes"
            raise TooManyChanges(f"{who} within the last {_MINUTES} minutes; try again in a minute")
        shares.take(event.pubkey)
        self._used.add(event.id)
        heappush(self._ages, (event.created_at, event.id, event.pubkey, shares))
