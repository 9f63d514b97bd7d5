"""Which item of a full list makes room: the one that came first to the lowest standing. Told of each change, it knows.

An item's standing is a small number, such as how many keys have reported an event. To look for the lowest among a
thousand takes longer than all else that is done about a report, and anyone may report.
"""

from __future__ import annotations


class Weakest:
    """Items by their standing; each step takes as long with many items as with few.

    There are few standings at a time, whatever they are: `first` looks at one of each.
    """

    def __init__(self) -> None:
        self._standings: dict[str, int] = {}
        self._ranks: dict[int, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._standings)

    def put(self, item: str, standing: int) -> None:
        """Have an item stand so high from now on; of those that stand as high it is the last that came."""
        self.drop(item)
        self._standings[item] = standing
        self._ranks.setdefault(standing, {})[item] = None

    def drop(self, item: str) -> None:
        """Forget an item, if it is here."""
        standing = self._standings.pop(item, None)
        if standing is not None:
            rank = self._ranks[standing]
            del rank[item]
            if not rank:
                del self._ranks[standing]

    def first(self) -> str | None:
        """The item that makes room next; None if there is none."""
        return next(iter(self._ranks[min(self._ranks)])) if self._ranks else None
