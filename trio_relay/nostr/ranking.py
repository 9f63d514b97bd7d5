"""The four orders of `sort:` (NIP-50 names none; these are the original relay's), by the references to a note.

An event refers to a note by an `e` tag that names it; any kind counts but deletions and private ones, whoever asks.
Each key counts once for a note however often it refers to it, so that one key cannot make a note popular; a key that
voted both up and down counts once for each. A note without references is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from msgspec.structs import replace

from trio_relay.nostr.access import PRIVATE_KINDS, Reader
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import DELETION
from trio_relay.nostr.search import Sort, is_searched, vote_of

MUTE_KINDS: Final = frozenset({DELETION, *PRIVATE_KINDS})
"""Kinds whose references never count: deletions, and kinds that are private by their NIPs; see `mute_kinds`."""
HOUR: Final = 3_600
WINDOWS: Final[dict[Sort, int | None]] = {
    "top": None,
    "hot": 7 * 24 * HOUR,
    "rising": 48 * HOUR,
    "controversial": 7 * 24 * HOUR,
}
"""How old a note may be, in seconds, where the filter doesn't say itself."""
_FEWEST_CANDIDATES: Final = 1_000
_MOST_CANDIDATES: Final = 5_000
_HALF_LIFE_HOURS: Final = 24.0
_LEAST_HOURS: Final = 0.1
"""The least age that is counted: else two replies in the first second would beat everything."""


class Reference(NamedTuple):
    """A reference to a note: the note's id, who refers to it, and the vote if it is one (`search.vote_of`)."""

    target: str
    pubkey: str
    vote: int


def candidates(filter_: Filter, now: int) -> Filter:
    """Return the filter whose newest matches are ranked for a filter with a `sort`; its own search has no `sort`.

    Args:
        filter_: the filter of the client; it has a limit. Its `since` or `until` replaces the sort's own window.
        now: seconds since 1970.
    """
    search, limit = filter_.search, filter_.limit
    assert search is not None
    assert search.sort is not None
    assert limit is not None
    window = WINDOWS[search.sort]
    is_bounded = filter_.since is not None or filter_.until is not None
    return replace(
        filter_,
        since=filter_.since if is_bounded or window is None else max(0, now - window),
        limit=min(max(10 * limit, _FEWEST_CANDIDATES), _MOST_CANDIDATES),
        search=replace(search, sort=None),
    )


def reference_window(filter_: Filter) -> tuple[int | None, int | None]:
    """Return the `since` and `until` of the references that count: the filter's own.

    References outside of the time that a client asks about do not count. Without bounds all count: a sort's own window
    is about the age of the notes, and no reference is older than its note.
    """
    return filter_.since, filter_.until


def mute_kinds(reader: Reader | None) -> frozenset[int]:
    """Return the kinds whose references do not count in what this reader is told.

    Private kinds count for nobody, not even for those who may read the events: else a ranking would tell somebody who
    asks with one key after another, and the same question had as many answers as there are readers.
    """
    return MUTE_KINDS if reader is None else MUTE_KINDS | reader.private_kinds


def hides_words(reader: Reader | None) -> bool:
    """Return True if words of stored events may be hidden from this reader.

    Then relevance must not say how rare a word is, or how long a text is for the texts that are stored: that counts
    what is hidden too. Kinds that are private by their NIPs have no words.
    """
    return reader is not None and any(map(is_searched, reader.private_kinds))


class Voices(NamedTuple):
    """The numbers of keys that refer to one note, that vote for it and that vote against it."""

    all: int
    up: int = 0
    down: int = 0


def references_of(event: Event, mute: AbstractSet[int] = MUTE_KINDS) -> Iterator[Reference]:
    """Yield the references of an event, one for each note that its `e` tags name; none for these kinds."""
    if event.kind not in mute:
        vote = vote_of(event)
        for target in {tag[1] for tag in event.tags if tag[:1] == ["e"] and len(tag) > 1}:
            yield Reference(target, event.pubkey, vote)


def count_voices(references: Iterable[Reference]) -> dict[str, Voices]:
    """Count the keys that refer to each note, by its id."""
    heard: dict[str, tuple[set[str], set[str], set[str]]] = {}
    for target, pubkey, vote in references:
        everybody, up, down = heard.setdefault(target, (set(), set(), set()))
        everybody.add(pubkey)
        if vote:
            (up if vote > 0 else down).add(pubkey)
    return {target: Voices(*map(len, keys)) for target, keys in heard.items()}


def ranked(
    sort: Sort, notes: Iterable[tuple[str, int]], references: Iterable[Reference], now: int, limit: int
) -> list[str]:
    """Rank notes by references, as `ranked_by` does by counts; references to other notes are ignored."""
    return ranked_by(sort, notes, count_voices(references), now, limit)


def ranked_by(
    sort: Sort, notes: Iterable[tuple[str, int]], voices: Mapping[str, Voices], now: int, limit: int
) -> list[str]:
    """Return the ids of the notes that have references, best first; of equal ones the newer first, then the lower id.

    Args:
        sort: which order.
        notes: id and created_at of the candidates, in any order.
        voices: the keys that refer to each note, by its id.
        now: seconds since 1970, from which ages are counted.
        limit: how many ids to give at most.
    """
    score = _SCORES[sort]
    scored: list[tuple[float, int, str]] = []
    for note, at in notes:
        heard = voices.get(note)
        if heard is not None and (sort != "controversial" or (heard.up and heard.down)):
            scored.append((-score(heard, max(0, now - at) / HOUR), -at, note))
    return [note for _, _, note in sorted(scored)[:limit]]


def _top(voices: Voices, _hours: float) -> float:
    return voices.all


def _hot(voices: Voices, hours: float) -> float:
    # The logarithm of voices times 0.5 ^ (hours / 24): the same order, and no note is too old for a number.
    return math.log2(voices.all) - hours / _HALF_LIFE_HOURS


def _rising(voices: Voices, hours: float) -> float:
    return voices.all / max(hours, _LEAST_HOURS)


def _controversial(voices: Voices, _hours: float) -> float:
    return min(voices.up, voices.down) * math.sqrt(voices.up + voices.down)


_SCORES: Final[dict[Sort, Callable[[Voices, float], float]]] = {
    "top": _top,
    "hot": _hot,
    "rising": _rising,
    "controversial": _controversial,
}
