"""Trends: the notes, tags and people that most keys refer to in a window of time; each key counts once for each."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from trio_relay.nostr.event import Event, is_hex64
from trio_relay.nostr.kinds import FOLLOW_SET, FOLLOWS, PROFILE, is_replaceable
from trio_relay.nostr.ranking import MUTE_KINDS, references_of

SILENT_KINDS: Final = rf"{PROFILE}|{FOLLOWS}|{'|'.join(map(str, sorted(MUTE_KINDS)))}|1[0-9]{{4}}|{FOLLOW_SET}"
"""The kinds that `speaks` leaves out for everybody, as a regular expression for Lucene."""


class Trend(msgspec.Struct, frozen=True, gc=False):
    """One note (its id), tag (its value) or person (a pubkey), and the number of keys that refer to it."""

    name: str
    voices: int


class Trends(msgspec.Struct, frozen=True, gc=False):
    """The most referred to from `since` to `until`, seconds since 1970, both included; most keys first.

    Attributes:
        since: the first second.
        until: the last.
        events: how many events were counted.
        notes: by `e` tags.
        tags: by `t` tags.
        authors: by `p` tags, also those of the person itself.
    """

    since: int
    until: int
    events: int
    notes: list[Trend]
    tags: list[Trend]
    authors: list[Trend]


def speaks(event: Event, mute: AbstractSet[int] = MUTE_KINDS) -> bool:
    """Return True for an event whose references count at its time: no replaceable list, and none of these kinds."""
    return not (event.kind in mute or event.kind == FOLLOW_SET or is_replaceable(event.kind))


class Tally:
    """Counts the keys that refer to things, event by event.

    Args:
        mute: kinds that do not count; `ranking.mute_kinds` gives those of a reader.
    """

    def __init__(self, mute: AbstractSet[int] = MUTE_KINDS) -> None:
        self._mute = mute
        self._events = 0
        self._notes: dict[str, set[str]] = {}
        self._tags: dict[str, set[str]] = {}
        self._authors: dict[str, set[str]] = {}

    def add(self, event: Event) -> None:
        """Count the references of one event, if it has any that count."""
        if not speaks(event, self._mute):
            return
        self._events += 1
        for reference in references_of(event, self._mute):
            self._notes.setdefault(reference.target, set()).add(event.pubkey)
        for tag in event.tags:
            if len(tag) > 1 and tag[0] in ("t", "p"):
                (self._tags if tag[0] == "t" else self._authors).setdefault(tag[1], set()).add(event.pubkey)

    def trends(self, since: int, until: int, limit: int) -> Trends:
        """Return the `limit` most referred to notes, tags and authors."""
        return Trends(
            since,
            until,
            self._events,
            _most((name, len(keys)) for name, keys in self._notes.items() if is_hex64(name))[:limit],
            _most((name, len(keys)) for name, keys in self._tags.items() if name)[:limit],
            _most((name, len(keys)) for name, keys in self._authors.items() if is_hex64(name))[:limit],
        )


def _most(voices: Iterable[tuple[str, int]]) -> list[Trend]:
    """Sort by number of keys, most first, then by name."""
    return [Trend(name, number) for name, number in sorted(voices, key=lambda voice: (-voice[1], voice[0]))]
