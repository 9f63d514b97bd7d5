"""The memory of signed requests that have changed something, so that each does so once (NIP-98).

An event's times are whole seconds, so two equal calls of one second have the same event: whoever comes second waits for
what the first is told, and is told the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

import trio

from trio_relay.net.http_responses import Response
from trio_relay.nostr.auth import HTTP_AUTH_SECONDS
from trio_relay.nostr.event import Event
from trio_relay.shares import Lack, Shares

MOST: Final = 10_000
"""Changes that are remembered of all moderators, and of each admin."""
MOST_OF_ONE: Final = 1_000
"""Changes that are remembered of one moderator."""
_MOST_OF_ADMINS: Final = 100_000
MOST_BYTES: Final = 2**22
"""Of the answers that are remembered: of one that finds no room it is only told that the event was used."""
_RESPONSE_BYTES: Final = 512
"""What an answer takes beside its body."""
_MINUTES: Final = 2 * HTTP_AUTH_SECONDS // 60

_USED: Final = "this event was used already; every change needs a new one"


class Replayed(Exception):
    """An event that may not be used (any more); the message says so."""


class TooManyChanges(Exception):
    """There is no room now for one more event of this key; the message says when there is."""


@dataclass(slots=True, eq=False)
class EventUse:
    """The one use of an event."""

    _answer: Response | None = None
    _over: trio.Event | None = field(default_factory=trio.Event)
    """None once it is over: there are many of these."""

    async def answer(self) -> Response:
        """What it was answered, or is when it has been carried out.

        Raises:
            Replayed: it was never answered, or that is not remembered.
        """
        if self._over is not None:
            await self._over.wait()
        if self._answer is None:
            raise Replayed(_USED)
        return self._answer

    def end(self, answer: Response | None) -> None:
        """Let those know who wait for it; None: no answer is to be had."""
        self._answer = answer
        if self._over is not None:
            self._over.set()
        self._over = None

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return 0 if self._answer is None else len(self._answer.body) + _RESPONSE_BYTES


class Replays:
    """Remembers the events that were used, and their answers, for as long as they could be used again.

    Nothing is forgotten before it is too old to pass `check_http_auth`: whoever has used up its share waits. Each key
    has one, so that nobody can shut others out; and moderators, whatever they do together, leave the admins theirs.

    Args:
        most: of all moderators, and of each admin.
        most_of_one: of one moderator.
    """

    def __init__(self, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        self._of_moderators: Shares[str] = Shares(most, most_of_one)
        self._of_admins: Shares[str] = Shares(_MOST_OF_ADMINS, most)
        self._used: dict[str, EventUse] = {}
        self._bytes = 0
        self._ages: list[tuple[int, str, str, Shares[str]]] = []

    def earlier(self, event: Event) -> EventUse | None:
        """The use of an event that came before, if one did."""
        return self._used.get(event.id)

    def use(self, event: Event, now: int, *, is_admin: bool = False) -> EventUse:
        """Let an event be used, once; `end` that use.

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
            self._bytes -= self._used.pop(event_id).size
            shares.give_back(pubkey)
        if event.created_at < oldest or event.id in self._used:
            raise Replayed(_USED)
        shares = self._of_admins if is_admin else self._of_moderators
        if (lack := shares.lack(event.pubkey)) is not None:
            one = f"this key has made {shares.held_by(event.pubkey):,} changes"
            who = one if lack is Lack.ONE else "moderators have made too many changes"
            raise TooManyChanges(f"{who} within the last {_MINUTES} minutes; try again in a minute")
        shares.take(event.pubkey)
        use = self._used[event.id] = EventUse()
        heappush(self._ages, (event.created_at, event.id, event.pubkey, shares))
        return use

    def end(self, event: Event, use: EventUse, answer: Response | None) -> None:
        """Remember what came of the use of an event, if there is room; None: nobody was answered."""
        has_room = answer is not None and self._bytes + len(answer.body) + _RESPONSE_BYTES <= MOST_BYTES
        use.end(answer if has_room else None)
        if self._used.get(event.id) is use:
            self._bytes += use.size
