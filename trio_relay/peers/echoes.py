"""Which events went between this relay and another lately (pure): none is given back to where it came from.

A link in both directions sees each of its events twice: the other relay sends to its subscribers, of whom we are one,
what it has just been given, and our broadcaster gives the link what it has just brought. Memory is bounded: what is
forgotten goes over the wire once more, and is known at the other end.
"""

from __future__ import annotations

from typing import Final

MOST_IDS: Final = 10_000
"""That are remembered of each side: 3 MB a link, and ten seconds where a thousand events come in a second."""


class RecentIds:
    """The ids that were added last.

    Args:
        most: of which the oldest go.
    """

    def __init__(self, most: int = MOST_IDS) -> None:
        self._most = most
        self._ids: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._ids

    def add(self, event_id: str) -> None:
        """Remember an id, as the newest one."""
        self._ids.pop(event_id, None)
        self._ids[event_id] = None
        if len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]

    def discard(self, event_id: str) -> None:
        """Forget an id, if it is there."""
        self._ids.pop(event_id, None)


class Echoes:
    """What two relays are known to have, by one link between them.

    Args:
        most: ids that are remembered of each side.
    """

    def __init__(self, most: int = MOST_IDS) -> None:
        self._there = RecentIds(most)
        self._here = RecentIds(most)

    def is_news_here(self, event_id: str) -> bool:
        """Note that the other relay has shown an event; False if it need not be taken, as it is here or on its way."""
        is_known = event_id in self._there or event_id in self._here
        self._there.add(event_id)
        return not is_known

    def is_news_there(self, event_id: str) -> bool:
        """Note that an event is here; False if the other relay has shown it, and must not get it."""
        if event_id in self._there:
            return False
        self._here.add(event_id)
        return True

    def is_there(self, event_id: str) -> bool:
        """True if the other relay has shown this event lately, or has taken it."""
        return event_id in self._there

    def note_there(self, event_id: str) -> None:
        """The other relay has this event now."""
        self._there.add(event_id)

    def forget(self, event_id: str) -> None:
        """What was shown is not here after all: it was refused, and may be taken when it comes again."""
        self._there.discard(event_id)
        self._here.discard(event_id)
