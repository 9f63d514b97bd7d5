"""Whose reports make room in the moderation queue: everybody has a share, and whom the relay knows comes before others.

Keys cost nothing, so the number of strangers who report an event says little. Each entry is charged to one holder: the
first known key that reported it, or else the address that its first report came from, as far as this process has seen
it, or else the key of its first reporter. Entries rank by how many known keys have reported them. In a full queue those
of the lowest rank make room, and among them those of the holder with the most: many keys at one address have no more
than one key has, and who reports much pushes out himself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from trio_relay.policy.lists import MOST_REPORTS, Change, ListEntry, ListName, reporters
from trio_relay.policy.rules import Rules
from trio_relay.shares import Shares

MOST_OF_ONE: Final = MOST_REPORTS // 10
"""Entries of one holder."""
_MOST_CORRECTIONS: Final = 20
"""Entries whose rank is looked up anew for one report: who is known changes."""


class ReportQueue:
    """Tells which entries make room; it changes nothing itself, and follows the list by `follow`.

    No step looks at all entries.

    Args:
        rules: have the list, and tell who is known.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._shares: Shares[str] = Shares(MOST_REPORTS, MOST_OF_ONE)
        self._places: dict[str, tuple[int, str]] = {}
        """By event, its rank and its holder."""
        self._ranks: dict[int, _Rank] = {}
        self._origins: dict[str, str] = {}
        """By event, where its first report came from."""

    def load(self) -> None:
        """Take over what is on the list already."""
        for event_id, entry in self._rules.lists.entries(ListName.REPORTED_EVENTS, 0).items():
            self._put(event_id, entry)

    def follow(self, changes: Iterable[Change]) -> None:
        """Take over changes of the list."""
        for change in changes:
            if change.name is ListName.REPORTED_EVENTS:
                if change.entry is None:
                    self._drop(change.item)
                    self._origins.pop(change.item, None)
                else:
                    self._put(change.item, change.entry)

    def holder(self, pubkey: str, origin: str | None, now: int) -> str:
        """Return whom a report counts for.

        Args:
            pubkey: of its author.
            origin: where it came from, see `Identity`; None: unknown.
            now: seconds since 1970.
        """
        return pubkey if origin is None or self._rules.is_known(pubkey, now) else origin

    def making_room(self, pubkey: str, origin: str | None, now: int) -> list[Change] | None:
        """Return what makes room for a new entry by this reporter; None if there is none for it.

        A holder's share is full: his own oldest makes room, and stays only if others have reported it, too.
        """
        holder = self.holder(pubkey, origin, now)
        withdrawn: list[Change] = []
        if self._shares.held_by(holder) >= MOST_OF_ONE:
            withdrawn = self._withdrawing(self._weakest_of(holder), holder, now)
            if withdrawn[0].entry is None:
                return withdrawn
        if self._shares.held < MOST_REPORTS:
            return withdrawn
        # What others have reported, too, has stayed, and the queue is as full as before.
        weakest = self._weakest_for(pubkey, holder, now)
        return None if weakest is None else [*withdrawn, Change(ListName.REPORTED_EVENTS, weakest)]

    def _weakest_for(self, pubkey: str, holder: str, now: int) -> str | None:
        """Return which entry of a full queue makes room for this reporter; None if none does."""
        self._correct(now)
        lowest, own = min(self._ranks), int(self._rules.is_known(pubkey, now))
        if lowest > own:
            return None
        rank = self._ranks[lowest]
        greediest = rank.greediest()
        # From him alone who has more: else two who have little would push each other out.
        if lowest == own and 0 < rank.count(holder) >= rank.count(greediest):
            greediest = holder
        return rank.weakest(greediest)

    def note_origin(self, event_id: str, origin: str | None) -> None:
        """Remember where the first report of an event came from, before it is put on the list."""
        if origin is not None:
            self._origins[event_id] = origin

    def _weakest_of(self, holder: str) -> str:
        return self._ranks[min(number for number, rank in self._ranks.items() if rank.count(holder))].weakest(holder)

    def _withdrawing(self, event_id: str, holder: str, now: int) -> list[Change]:
        """Return what takes the report that an entry is charged for off; the next reporter with room takes it over."""
        entry = self._entry(event_id)
        assert entry is not None, "it is on the list"
        names = [key for key in reporters(entry) if key != self._charged(reporters(entry), now)]
        while names and self._shares.held_by(charged := self._charged(names, now)) >= MOST_OF_ONE:
            names.remove(charged)
        left = ListEntry(entry.reason, since=entry.since, data={"reporters": names}) if names else None
        self._origins.pop(event_id, None)
        return [Change(ListName.REPORTED_EVENTS, event_id, left)]

    def _charged(self, names: list[str], now: int) -> str:
        return next((key for key in names if self._rules.is_known(key, now)), names[0])

    def _correct(self, now: int) -> None:
        """Have the entry that would make room next stand where it belongs by now."""
        for _ in range(_MOST_CORRECTIONS):
            rank = self._ranks[min(self._ranks)]
            event_id = rank.weakest(rank.greediest())
            entry = self._entry(event_id)
            if entry is None or self._place(event_id, entry, now) == self._places[event_id]:
                return
            self._put(event_id, entry, now)

    def _place(self, event_id: str, entry: ListEntry, now: int) -> tuple[int, str]:
        names = reporters(entry)
        known = [key for key in names if self._rules.is_known(key, now)]
        if known:
            return len(known), known[0]
        return 0, self._origins.get(event_id) or (names[0] if names else "")

    def _put(self, event_id: str, entry: ListEntry, now: int = 0) -> None:
        self._drop(event_id)
        number, holder = self._places[event_id] = self._place(event_id, entry, now)
        self._ranks.setdefault(number, _Rank()).put(event_id, holder, len(reporters(entry)))
        self._shares.take(holder)

    def _drop(self, event_id: str) -> None:
        if event_id in self._places:
            number, holder = self._places.pop(event_id)
            if self._ranks[number].drop(event_id, holder):
                del self._ranks[number]
            self._shares.give_back(holder)

    def _entry(self, event_id: str) -> ListEntry | None:
        return self._rules.lists.get(ListName.REPORTED_EVENTS, event_id, 0)


class _Rank:
    """The entries that as many known keys have reported."""

    def __init__(self) -> None:
        self._holders = Weakest()
        """By how many entries they have, the most first."""
        self._entries: dict[str, Weakest] = {}

    def put(self, event_id: str, holder: str, reported_by: int) -> None:
        entries = self._entries.setdefault(holder, Weakest())
        entries.put(event_id, reported_by)
        self._holders.put(holder, -len(entries))

    def drop(self, event_id: str, holder: str) -> bool:
        """Drop an entry; True if it was the last one."""
        entries = self._entries[holder]
        entries.drop(event_id)
        if len(entries):
            self._holders.put(holder, -len(entries))
        else:
            del self._entries[holder]
            self._holders.drop(holder)
        return not self._entries

    def count(self, holder: str) -> int:
        return len(self._entries[holder]) if holder in self._entries else 0

    def greediest(self) -> str:
        return self._holders.first() or ""

    def weakest(self, holder: str) -> str:
        """The oldest of those of a holder that the fewest have reported."""
        return self._entries[holder].first() or ""


class Weakest:
    """Finds which item of a full list makes room: the oldest of those with the lowest standing.

    An item's standing is a small number, such as how many keys have reported an event. Searching a thousand items would
    take longer than everything else about a report, and anyone may report, so no step depends on the number of items.
    There are few different standings at a time, and `first` looks at one item of each.
    """

    def __init__(self) -> None:
        self._standings: dict[str, int] = {}
        self._ranks: dict[int, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._standings)

    def put(self, item: str, standing: int) -> None:
        """Set the standing of an item; it counts as the newest of those with the same standing."""
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
        """Return the item that makes room next; None if there is none."""
        return next(iter(self._ranks[min(self._ranks)])) if self._ranks else None
