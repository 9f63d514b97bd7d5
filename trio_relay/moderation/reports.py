"""The moderation queue: events that stored reports name (NIP-56), until an operator has judged them (NIP-86).

It changes and is stored in the background, so that no answer to a report waits for that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import structlog
import trio

from trio_relay.moderation.due import Due
from trio_relay.moderation.report_queue import ReportQueue
from trio_relay.moderation.state import ModerationState
from trio_relay.nostr.event import Event, is_hex64
from trio_relay.nostr.kinds import REPORT
from trio_relay.policy.lists import Change, ListEntry, ListName, Lists, reporters
from trio_relay.policy.rules import Rules
from trio_relay.shares import Shares
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
"""Reports; more are left out. What they name would have to make room in the queue soon."""
_MOST_WAITING_OF_ONE: Final = _MOST_WAITING // 10
"""Of one address or key."""


class Reports:
    """Puts what stored reports name on the queue, and has the queue stored.

    Args:
        state: has the queue among its lists.
    """

    def __init__(self, state: ModerationState) -> None:
        self._state = state
        self._queue = ReportQueue(state.rules)
        self._waiting: deque[tuple[Event, str | None]] = deque()
        self._places: Shares[str] = Shares(_MOST_WAITING, _MOST_WAITING_OF_ONE)
        self._noted = trio.Event()
        self._stale = Due()
        state.subscribe(self._follow)

    def start(self, nursery: trio.Nursery) -> None:
        """Begin, once the state has been recalled; cancelling the nursery ends it."""
        self._queue.load()
        nursery.start_soon(self._run)

    def note(self, stored: Iterable[Event], origins: Mapping[str, str | None] | None = None) -> None:
        """Have what the reports among these events name put on the queue; sync, and never waits.

        Args:
            stored: events of any kind.
            origins: by the ids of events, where they came from (see `Identity`), as far as that is known.
        """
        for report in stored:
            if report.kind == REPORT:
                origin = (origins or {}).get(report.id)
                if self._places.lack(origin or report.pubkey) is None:
                    self._places.take(origin or report.pubkey)
                    self._waiting.append((report, origin))
                    self._noted.set()

    def _follow(self, changes: Sequence[Change]) -> None:
        self._queue.follow(changes)
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
            report, origin = self._waiting.popleft()
            self._places.give_back(origin or report.pubkey)
            for changes in queueing(report, self._queue, self._state.rules, self._state.now(), origin):
                self._state.defer(changes)
            if turn.is_over:
                await turn.give()

    async def _store(self) -> None:
        try:
            await self._state.store_deferred()
        except StoreError as error:
            log.warning(_FAILURE, error=str(error))


def queueing(
    report: Event, queue: ReportQueue, rules: Rules, now: int, origin: str | None = None
) -> Iterator[list[Change]]:
    """What puts the events that a stored report names on the queue, one after the other.

    Each event is there once, with the reason of its first report and the keys of all who reported it. Left out are
    those that an operator has banned or allowed, all that a banned key reports, and what the queue has no room for.

    Args:
        report: of kind `REPORT`.
        queue: tells who makes room.
        rules: as they stand; each step's changes are to be made before the next step.
        now: seconds since 1970.
        origin: where the report came from, see `Identity`; None: unknown.
    """
    lists = rules.lists
    if rules.is_banned(report.pubkey, now):
        return
    for event_id, reason in _named(report).items():
        if any(lists.get(name, event_id, now) is not None for name in _VERDICTS):
            continue
        known = lists.get(ListName.REPORTED_EVENTS, event_id, now)
        entry = _counted(known or ListEntry(reason, since=now), report.pubkey, rules, now)
        if entry is None:
            continue
        room: list[Change] | None = []
        if known is None:
            room = queue.making_room(report.pubkey, origin, now)
            queue.note_origin(event_id, None if room is None else origin)
        if room is not None:
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


def _counted(entry: ListEntry, reporter: str, rules: Rules, now: int) -> ListEntry | None:
    """The entry with one more reporter; None if that key counts already, or there are enough.

    Known keys come first. One takes the place of the last stranger where that is needed: nobody can keep it out.
    """
    names = reporters(entry)
    if reporter in names:
        return None
    known = known_among(names, rules, now)
    if rules.is_known(reporter, now) and known < MOST_REPORTERS:
        names = [*names[:known], reporter, *names[known:]][:MOST_REPORTERS]
    elif len(names) < MOST_REPORTERS:
        names = [*names, reporter]
    else:
        return None
    return ListEntry(entry.reason, since=entry.since, data={"reporters": names})


def known_among(names: list[str], rules: Rules, now: int) -> int:
    """How many of the reporters of an event are known; they come first among them."""
    return next((place for place, key in enumerate(names) if not rules.is_known(key, now)), len(names))
