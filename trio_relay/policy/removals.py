"""What was banned and is still to go from the store: owed from the moment of the ban on, until it is done.

It is kept together with the ban, so that no stop or crash between the two leaves anything behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from trio_relay.nostr.filter import Filter
from trio_relay.policy.lists import Change, ListEntry, ListName, Lists

_AT_A_TIME: Final = 100
_BANS: Final = {ListName.BANNED_PUBKEYS: "pubkey", ListName.BANNED_EVENTS: "id"}
_LISTS: Final = {what: name for name, what in _BANS.items()}


@dataclass(frozen=True, slots=True)
class Removal:
    """A portion of what is owed.

    Attributes:
        filters: match what is to go; none where the bans have ended meanwhile.
        settling: what takes the debt off the list once that is done.
    """

    filters: Sequence[Filter]
    settling: Sequence[Change]


def owed(filters: Iterable[Filter], now: int) -> list[Change]:
    """What puts on the list that all that these filters match is to go; they name authors or ids and nothing else."""
    items = (item for filter_ in filters for item in _items(filter_))
    return [Change(ListName.REMOVALS, item, ListEntry(since=now)) for item in items]


def settled(filters: Iterable[Filter]) -> list[Change]:
    """What takes the same off the list."""
    return [Change(ListName.REMOVALS, item) for filter_ in filters for item in _items(filter_)]


def owed_after(changes: Iterable[Change], now: int) -> list[Change]:
    """The same as `owed`, for the bans among these changes."""
    return [
        Change(ListName.REMOVALS, f"{_BANS[change.name]}:{change.item}", ListEntry(since=now))
        for change in changes
        if change.name in _BANS and change.entry is not None
    ]


def due(lists: Lists, now: int) -> Iterator[Removal]:
    """All that is owed, in portions."""
    items = iter(lists.entries(ListName.REMOVALS, now))
    while portion := list(islice(items, _AT_A_TIME)):
        yield Removal(_filters(portion, lists, now), [Change(ListName.REMOVALS, item) for item in portion])


def _items(filter_: Filter) -> Iterator[str]:
    yield from (f"pubkey:{pubkey}" for pubkey in sorted(filter_.authors or ()))
    yield from (f"id:{event_id}" for event_id in sorted(filter_.ids or ()))


def _filters(items: Iterable[str], lists: Lists, now: int) -> list[Filter]:
    banned: dict[str, set[str]] = {"pubkey": set(), "id": set()}
    for item in items:
        what, _, value = item.partition(":")
        if lists.get(_LISTS[what], value, now) is not None:
            banned[what].add(value)
    found = []
    if banned["pubkey"]:
        found.append(Filter(authors=frozenset(banned["pubkey"])))
    if banned["id"]:
        found.append(Filter(ids=frozenset(banned["id"])))
    return found
