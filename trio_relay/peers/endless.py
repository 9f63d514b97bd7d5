"""What tells an answer that is long from one that never ends. Pure.

Another relay is believed to go on as long as it says something new. What it has said before, and what is not asked of
it, moves nothing on; so both are counted, and end it.
"""

from __future__ import annotations

from typing import Final

from trio_relay.peers.waiting import PeerLost

_MOST_TIMES: Final = 20
"""A relay that sends so many times what was asked for sends without an end."""
_MOST_WAITS: Final = 5
"""How many times as long as one event may all those of one answer be waited for."""
_MOST_IDLE_ROUNDS: Final = 200
"""Rounds in a row that tell nothing new: a set of a million items is split into its last ids in five."""
_ROUNDS: Final = 1_024
"""Rounds that a comparison may have in any case."""
_LEAST_NEWS: Final = 4
"""Events that a round tells on average: a message of 4,096 bytes, the least that NIP-77 knows, holds a hundred ids."""
_LEAST_UNWANTED: Final = 64
"""Ids that nobody wants move a comparison on only where a message is full of them."""
_MOST_UNWANTED: Final = 2**22
"""More of them do not."""


class AnswerBounds:
    """Whether the stored events of one answer come to an end.

    Args:
        asked: how many were asked for.
        seconds: for which one may be waited for.
    """

    def __init__(self, asked: int, seconds: float) -> None:
        self._asked = asked
        self._seconds = _MOST_WAITS * seconds
        self._ids = set[str]()
        self._repeated = 0

    def note(self, event_id: str, waited: float) -> bool:
        """Note an event that came; False if it came before.

        Args:
            event_id: its id.
            waited: seconds for which events of this answer were waited for so far.

        Raises:
            PeerLost: the answer has no end.
        """
        if waited > self._seconds:
            raise PeerLost(f"it did not end the answer to a REQ within {self._seconds:g} seconds")
        if event_id in self._ids:
            self._repeated += 1
            if self._repeated > self._asked:
                raise PeerLost("it sends the same events again and again")
            return False
        self._ids.add(event_id)
        if len(self._ids) > _MOST_TIMES * self._asked:
            raise PeerLost("it sends many times as many events as it was asked for")
        return True


class ComparisonBounds:
    """Whether a comparison of sets comes to an end: by rounds in a row, and by as many as the two sets can need."""

    def __init__(self) -> None:
        self._idle = 0
        self._rounds = 0
        self._events = 0
        self._unwanted = 0

    def expect(self, events: int) -> None:
        """So many of this side are compared, too."""
        self._events += events

    def note(self, news: int, unwanted: int = 0) -> None:
        """Note a round, or a refusal in its place.

        Args:
            news: events that it has told of, and no round before, and that are fetched or offered for that.
            unwanted: events that it says it has, where none are fetched.

        Raises:
            PeerLost: this has no end.
        """
        self._rounds += 1
        self._events += news
        self._unwanted = min(self._unwanted + unwanted, _MOST_UNWANTED)
        moves = news or (unwanted >= _LEAST_UNWANTED and self._unwanted < _MOST_UNWANTED)
        self._idle = 0 if moves else self._idle + 1
        most = _ROUNDS + self._events // _LEAST_NEWS + self._unwanted // _LEAST_UNWANTED
        if self._idle > _MOST_IDLE_ROUNDS or self._rounds > most:
            raise PeerLost("its comparison of sets comes to no end")
