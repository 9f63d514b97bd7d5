"""Methods about the moderation queue (NIP-56): what is reported, by whom, and what it says."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import Final, TypeAlias

import msgspec
import trio

from trio_relay.moderation.reports import known_among
from trio_relay.net.admin.params import Call, Outcome
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.policy.lists import ListEntry, ListName, reporters

_MOST_SHOWN: Final = 100
_COUNTING_SECONDS: Final = 2.0
"""How long the events of all authors may take to be counted; who is left then is not."""

_Json: TypeAlias = dict[str, object]


def list_reported(call: Call) -> Outcome:
    """The moderation queue; what most known keys have reported comes first, and then what most keys have."""
    call.at_most(0)
    return Outcome([{"id": event_id, "reason": _told(entry)} for event_id, entry in _ordered(call)])


def list_reported_events(call: Call) -> Outcome:
    """The same, the first hundred, with the events themselves, who reported them, and how much else their authors have.

    An event that is not stored is null; so is the number of its author's others, and where it takes too long to count.
    """
    call.at_most(0)
    return Outcome(later=partial(_with_events, call, list(islice(_ordered(call), _MOST_SHOWN))))


async def _with_events(call: Call, queue: list[tuple[str, ListEntry]]) -> list[_Json]:
    ids = frozenset(event_id for event_id, _ in queue)
    found = await call.reads.events([Filter(ids=ids, limit=len(ids))]) if ids else []
    events: dict[object, _Json] = {event["id"]: event for event in map(_decode, found)}
    numbers = await _numbers(call, [str(event["pubkey"]) for event in events.values()])
    return [_shown(call, event_id, entry, events.get(event_id), numbers) for event_id, entry in queue]


async def _numbers(call: Call, authors: list[str]) -> dict[object, int]:
    """How many events the authors have, of those that could be counted in time."""
    numbers: dict[object, int] = {}
    with trio.move_on_after(_COUNTING_SECONDS):
        for author in dict.fromkeys(authors):
            try:
                numbers[author] = await call.reads.count(Filter(authors=frozenset({author})))
            except Rejected:
                break
    return numbers


def _shown(call: Call, event_id: str, entry: ListEntry, event: _Json | None, numbers: dict[object, int]) -> _Json:
    number = None if event is None else numbers.get(event["pubkey"])
    return {
        "id": event_id,
        "since": entry.since,
        "reason": entry.reason,
        "reporters": [{"pubkey": key, "known": call.rules.is_known(key, call.now)} for key in reporters(entry)],
        "event": event,
        "author_events": None if number is None else max(number - 1, 0),
    }


def _ordered(call: Call) -> list[tuple[str, ListEntry]]:
    def order(item: tuple[str, ListEntry]) -> tuple[int, int, int, str]:
        event_id, entry = item
        names = reporters(entry)
        return -known_among(names, call.rules, call.now), -len(names), entry.since, event_id

    return sorted(call.rules.lists.entries(ListName.REPORTED_EVENTS, call.now).items(), key=order)


def _told(entry: ListEntry) -> str:
    others = len(reporters(entry)) - 1
    more = f"(and {others} more)" if others > 0 else ""
    return " ".join(part for part in (entry.reason, more) if part)


_decode: Final = msgspec.json.Decoder(_Json).decode
