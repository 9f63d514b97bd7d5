"""The moderation queue: events that stored reports name (NIP-56), until an operator has judged them (NIP-86)."""

from __future__ import annotations

from typing import Final

from trio_relay.nostr.event import Event, is_hex64
from trio_relay.policy.lists import MOST_REPORTS, Change, ListEntry, ListName, Lists, reporters
from trio_relay.policy.rules import Rules

MOST_REPORTERS: Final = 100
"""Keys that are counted for one event; more of them would tell a moderator nothing new."""
_MOST_NAMED: Final = 10
"""Events of one report; the rest is not looked at."""
_MOST_REASON: Final = 300
"""Characters."""


def note_report(event: Event, rules: Rules, now: int) -> None:
    """Put the events that a stored report names on the queue.

    Each event is there once, with the reason of its first report and the keys of all who reported it. Left out are
    those that an operator has banned or allowed, and all that a banned key reports. In a full queue, of those that the
    fewest have reported, the one makes room that was reported last the longest ago.

    Args:
        event: of kind `REPORT`.
        rules: their lists are changed.
        now: seconds since 1970.
    """
    lists = rules.lists
    if rules.is_banned(event.pubkey, now):
        return
    for event_id, reason in _named(event).items():
        if any(lists.get(name, event_id, now) is not None for name in _VERDICTS):
            continue
        known = lists.get(ListName.REPORTED_EVENTS, event_id, now)
        entry = _counted(known or ListEntry(reason, since=now), event.pubkey)
        if entry is not None:
            if known is None:
                _make_room(lists)
            lists.apply([Change(ListName.REPORTED_EVENTS, event_id, entry)])


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
    """The entry with one more reporter; None if he counts already, or there are enough."""
    known = reporters(entry)
    if reporter in known or len(known) >= MOST_REPORTERS:
        return None
    return ListEntry(entry.reason, since=entry.since, data={"reporters": [*known, reporter]})


def _make_room(lists: Lists) -> None:
    if len(lists.reported) >= MOST_REPORTS and (weakest := lists.reported.first()) is not None:
        lists.apply([Change(ListName.REPORTED_EVENTS, weakest)])
