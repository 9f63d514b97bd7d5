"""What is banned goes from the store: at once, or, where a stop or a failure came between, in the background.

A removal is pending from the moment of the ban on, until it is done. It is stored together with the ban, so that no
stop or crash between the two leaves anything behind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

import structlog
import trio

from trio_relay.moderation.due import Due
from trio_relay.moderation.state import ModerationState
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.policy.lists import Change, ListEntry, ListName, Lists
from trio_relay.store.base import StoreError

log = structlog.get_logger("trio_relay.moderation")

_AT_A_TIME: Final = 100
_BANS: Final = {ListName.BANNED_PUBKEYS: "pubkey", ListName.BANNED_EVENTS: "id"}
_LISTS: Final = {what: name for name, what in _BANS.items()}

Remove: TypeAlias = Callable[[Sequence[Filter]], Awaitable[int]]
"""Removes stored events, and all that is on its way and matches by then; gives how many; raises StoreError."""
Report: TypeAlias = Callable[[int], Sequence[Change]]
"""What changes once so many events are removed; sync."""


@dataclass(slots=True, eq=False)
class _Work:
    report: Report
    removed: int = 0
    error: str | None = "the relay stops"
    done: trio.Event = field(default_factory=trio.Event)


class Removals:
    """Bans, and removes what is banned until nothing of it is pending.

    Args:
        state: has what is pending among its lists.
        remove: removes stored events.
    """

    def __init__(self, state: ModerationState, remove: Remove) -> None:
        self._state = state
        self._remove = remove
        self._pending = Due()
        self._at_work: Counter[str] = Counter()
        """Items of the list that are being carried out for somebody who waits."""
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """Begin, with what was left pending the last time; cancelling the nursery ends it."""
        self._nursery = nursery
        if self._state.rules.lists.holds_any(ListName.REMOVALS):
            self._pending.set()
        nursery.start_soon(self._pending.run, self._remove_pending, "not all that is banned is removed")

    def learned(self, changes: Sequence[Change]) -> None:
        """Bans of another relay's operators are among these: what came here meanwhile goes, too; sync."""
        self._state.apply_unstored(pending_after(changes, self._state.now()))  # other relays need not know
        if self._state.rules.lists.holds_any(ListName.REMOVALS):
            self._pending.set()

    async def enforce(
        self, changes: Sequence[Change], removed: Sequence[Filter] = (), report: Report = lambda _removed: ()
    ) -> int:
        """Change the lists, and remove what matches any of the filters; gives how many events those were.

        The lists have changed at the first step of this, and from there on the rest is done, whatever becomes of the
        caller and of this process.

        Args:
            changes: of the lists.
            removed: name authors or ids, which the changes ban, and nothing else.
            report: what changes once they are gone, if there are any to be removed.

        Raises:
            Rejected: the store failed; the message says whether the lists are changed all the same.
        """
        self._at_work.update(all_items(removed))  # before they are on the list, where a round would find them
        try:
            await self._state.amend([*changes, *pending(removed, self._state.now())])
        except BaseException as error:
            self._leave(removed)
            if isinstance(error, StoreError):
                raise Rejected(Prefix.ERROR, str(error)) from error
            self._pending.set()
            raise
        try:
            return await self._carry_out(removed, _Work(report)) if removed else 0
        except StoreError as error:
            said = f"{error}; the ban holds, but not all is removed: that is tried again"
            raise Rejected(Prefix.ERROR, said) from error

    async def _carry_out(self, filters: Sequence[Filter], work: _Work) -> int:
        """Remove what is pending and matches these filters; once begun it goes on though the caller waits no more.

        Raises:
            StoreError: it failed, and is tried again later.
        """
        assert self._nursery is not None, "who has a relay has started it"
        self._nursery.start_soon(self._work, filters, work)
        await work.done.wait()
        if work.error is not None:
            raise StoreError(work.error)
        return work.removed

    async def _work(self, filters: Sequence[Filter], work: _Work) -> None:
        try:
            work.removed = await self._remove(filters)
            work.error = None
            await self._state.amend([*done(filters), *work.report(work.removed)])
        except StoreError as error:
            self._pending.set()
            if work.error is None:
                log.warning("a removal is done and may be done again", error=str(error))
            else:
                work.error = str(error)
        finally:
            self._leave(filters)
            work.done.set()

    def _leave(self, filters: Sequence[Filter]) -> None:
        self._at_work.subtract(all_items(filters))
        self._at_work += Counter()  # nothing stays that is none

    async def _remove_pending(self) -> None:
        removed = 0
        # What somebody waits for is carried out for them, and counted there.
        for portion in portions(self._state.rules.lists, self._state.now(), but=self._at_work):
            if portion.filters:
                removed += await self._remove(portion.filters)
            await self._state.amend(portion.done)
        if removed:
            log.info("removed what is banned", events=removed)


@dataclass(frozen=True, slots=True)
class Removal:
    """A portion of what is pending.

    Attributes:
        filters: match what is to go; none where the bans have ended meanwhile.
        done: what takes it off the list once that is done.
    """

    filters: Sequence[Filter]
    done: Sequence[Change]


def pending(filters: Iterable[Filter], now: int) -> list[Change]:
    """What puts on the list that all that these filters match is to go; they name authors or ids and nothing else."""
    return [Change(ListName.REMOVALS, item, ListEntry(since=now)) for item in all_items(filters)]


def done(filters: Iterable[Filter]) -> list[Change]:
    """What takes the same off the list."""
    return [Change(ListName.REMOVALS, item) for item in all_items(filters)]


def all_items(filters: Iterable[Filter]) -> list[str]:
    """What stands on the list of removals for what these filters match."""
    return [item for filter_ in filters for item in _items(filter_)]


def pending_after(changes: Iterable[Change], now: int) -> list[Change]:
    """The same as `pending`, for the bans among these changes."""
    return [
        Change(ListName.REMOVALS, f"{_BANS[change.name]}:{change.item}", ListEntry(since=now))
        for change in changes
        if change.name in _BANS and change.entry is not None
    ]


def portions(lists: Lists, now: int, but: Container[str] = ()) -> Iterator[Removal]:
    """All that is pending, in portions; `but` are items of the list that are left out."""
    items = (item for item in lists.entries(ListName.REMOVALS, now) if item not in but)
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
