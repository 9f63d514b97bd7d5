"""What many keys speak of in a window of time: notes, tags and people, each key counting once for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from trio_relay.nostr.event import Event, is_hex64
from trio_relay.nostr.kinds import FOLLOW_SET, FOLLOWS, PROFILE, is_replaceable
from trio_relay.nostr.ranking import MUTE_KINDS, references_of

SILENT_KINDS: Final = rf"{PROFILE}|{FOLLOWS}|{'|'.join(map(str, sorted(MUTE_KINDS)))}|1[0-9]{{4}}|{FOLLOW_SET}"
"""The kinds that `speaks` leaves out, as a regular expression of Lucene's."""


class Trend(msgspec.Struct, frozen=True, gc=False):
    """One note (its id), tag (its value) or person (a pubkey), and how many keys spoke of it."""

    name: str
    voices: int


class Trends(msgspec.Struct, frozen=True, gc=False):
    """What was most spoken of from `since` to `until`, both seconds since 1970 and included; most voices first.

    Attributes:
        since: the first second.
        until: the last.
        events: how many events spoke.
        notes: by `e` tags.
        tags: by `t` tags.
        authors: by `p` tags, the person's own included.
    """

    since: int
    until: int
    events: int
    notes: list[Trend]
    tags: list[Trend]
    authors: list[Trend]


def speaks(event: Event) -> bool:
    """True for an event that says something of others at its time: no list that is kept, and none of `MUTE_KINDS`."""
    return not (event.kind in MUTE_KINDS or event.kind == FOLLOW_SET or is_replaceable(event.kind))


class Tally:
    """Counts voices, event by event."""

    def __init__(self) -> None:
        self._events = 0
        self._notes: dict[str, set[str]] = {}
        self._tags: dict[str, set[str]] = {}
        self._authors: dict[str, set[str]] = {}

    def add(self, event: Event) -> None:
        """Hear what one event says, if it says anything."""
        if not speaks(event):
            return
        self._events += 1
        for reference in references_of(event):
            self._notes.setdefault(reference.target, set()).add(event.pubkey)
        for tag in event.tags:
            if len(tag) > 1 and tag[0] in ("t", "p"):
                (self._tags if tag[0] == "t" else self._authors).setdefault(tag[1], set()).add(event.pubkey)

    def trends(self, since: int, until: int, limit: int) -> Trends:
        """The `limit` most spoken of, of each kind of thing."""
        return Trends(
            since,
            until,
            self._events,
            _most((name, len(keys)) for name, keys in self._notes.items() if is_hex64(name))[:limit],
            _most((name, len(keys)) for name, keys in self._tags.items() if name)[:limit],
            _most((name, len(keys)) for name, keys in self._authors.items() if is_hex64(name))[:limit],
        )


def _most(voices: Iterable[tuple[str, int]]) -> list[Trend]:
    """Most voices first, equals by name."""
    return [Trend(name, number) for name, number in sorted(voices, key=lambda voice: (-voice[1], voice[0]))]
