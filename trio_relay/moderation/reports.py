"""The moderation queue: events that stored reports name (NIP-56), until an operator has judged them (NIP-86).

It changes and is stored in the background, so that no answer to a report waits for that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import structlog
import trio

from trio_relay.moderation.due import Due
from trio_relay.moderation.state import ModerationState
from trio_relay.nostr.event import Event, is_hex64
from trio_relay.nostr.kinds import REPORT
from trio_relay.policy.lists import MOST_REPORTS, Change, ListEntry, ListName, Lists, reporters
from trio_relay.policy.rules import Rules
from trio_relay.store.base import StoreError
from trio_relay.turns import Turn

log = structlog.get_logger("trio_relay.moderation")

MOST_REPORTERS: Final = 100
"""Keys that are counted for one event; more of them would tell a moderator nothing new."""
_MOST_NAMED: Final = 10
"""Events of one report; the rest is not looked at."""
_MOST_REASON: Final = 300
"""Characters."""
_FAILURE: Final = "the moderation queue is not kept"
_LAST_SECONDS: Final = 5.0
"""How long it may take to store the queue when the relay stops."""
_MOST_WAITING: Final = 2_000
"""Reports; of more, the oldest are left out. What they name would have to make room in the queue soon."""


class Reports:
    """Puts what stored reports name on the queue, and has the queue stored.

    Args:
        state: has the queue among its lists.
    """

    def __init__(self, state: ModerationState) -> None:
        self._state = state
        self._waiting: deque[Event] = deque(maxlen=_MOST_WAITING)
        self._noted = trio.Event()
        self._stale = Due()
        state.subscribe(self._follow)

    def start(self, nursery: trio.Nursery) -> None:
        """Begin; cancelling the nursery ends it."""
        nursery.start_soon(self._run)

    def note(self, stored: Iterable[Event]) -> None:
        """Have what the reports among these events name put on the queue; sync, and never waits."""
        if reports := [event for event in stored if event.kind == REPORT]:
            self._waiting += reports
            self._noted.set()

    def _follow(self, changes: Sequence[Change]) -> None:
        if any(change.name is ListName.REPORTED_EVENTS for change in changes):
            self._stale.set()

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._stale.run, self._state.store_deferred, _FAILURE)
                while True:
                    await self._noted.wait()
                    self._noted = trio.Event()
                    await self._take()
        finally:
            with trio.CancelScope(shield=True, relative_deadline=_LAST_SECONDS):
                await self._take()
                await self._store()

    async def _take(self) -> None:
        """Put what waits on the queue, in turns."""
        turn = Turn()
        while self._waiting:
            for changes in queueing(self._waiting.popleft(), self._state.rules, self._state.now()):
                self._state.defer(changes)
            if turn.is_over:
                await turn.give()

    async def _store(self) -> None:
        try:
            await self._state.store_deferred()
        except StoreError as error:
            log.warning(_FAILURE, error=str(error))


def queueing(report: Event, rules: Rules, now: int) -> Iterator[list[Change]]:
    """What puts the events that a stored report names on the queue, one after the other.

    Each event is there once, with the reason of its first report and the keys of all who reported it. Left out are
    those that an operator has banned or allowed, and all that a banned key reports. In a full queue, of those that the
    fewest have reported, the one makes room that was reported last the longest ago.

    Args:
        report: of kind `REPORT`.
        rules: as they stand; each step's changes are to be made before the next step.
        now: seconds since 1970.
    """
    lists = rules.lists
    if rules.is_banned(report.pubkey, now):
        return
    for event_id, reason in _named(report).items():
        if any(lists.get(name, event_id, now) is not None for name in _VERDICTS):
            continue
        known = lists.get(ListName.REPORTED_EVENTS, event_id, now)
        entry = _counted(known or ListEntry(reason, since=now), report.pubkey)
        if entry is not None:
            room = _making_room(lists) if known is None else []
            yield [*room, Change(ListName.REPORTED_EVENTS, event_id, entry)]


def without_reporter(pubkey: str, lists: Lists, now: int) -> list[Change]:
    """What takes a key's reports out of the queue, as if it had made none."""
    changes = []
    for event_id, entry in lists.entries(ListName.REPORTED_EVENTS, now).items():
        if pubkey in reporters(entry):
            others = [key for key in reporters(entry) if key != pubkey]
            left = ListEntry(entry.reason, since=entry.since, data={"reporters": others}) if others else None
            changes.append(Change(ListName.REPORTED_EVENTS, event_id, left))
    return changes


_VERDICTS: Final = (ListName.BANNED_EVENTS, ListName.ALLOWED_EVENTS)


def _named(report: Event) -> dict[str, str]:
    """The ids of the first events that a report names, and why it does."""
    named: dict[str, str] = {}
    kinds = [tag[2] for tag in report.tags if len(tag) > 2 and tag[0] == "p"]
    for tag in report.tags:
        if len(named) == _MOST_NAMED:
            break
        if len(tag) > 1 and tag[0] == "e" and is_hex64(tag[1]):
            kind = tag[2] if len(tag) > 2 else next(iter(kinds), "")
            reason = ": ".join(part for part in (kind, report.content.strip()) if part)
            named.setdefault(tag[1], reason[:_MOST_REASON])
    return named


def _counted(entry: ListEntry, reporter: str) -> ListEntry | None:
    """The entry with one more reporter; None if that key counts already, or there are enough."""
    known = reporters(entry)
    if reporter in known or len(known) >= MOST_REPORTERS:
        return None
    return ListEntry(entry.reason, since=entry.since, data={"reporters": [*known, reporter]})


def _making_room(lists: Lists) -> list[Change]:
    if len(lists.reported) >= MOST_REPORTS and (weakest := lists.reported.first()) is not None:
        return [Change(ListName.REPORTED_EVENTS, weakest)]
    return []
