"""Filters as clients write them, for people to look at: the way back from `Filter` to JSON, bounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias, TypeVar

from trio_relay.nostr.filter import Filter
from trio_relay.nostr.search import Phrase, Search
from trio_relay.nostr.tokenizer import typed

T = TypeVar("T", int, str)

FilterJson: TypeAlias = dict[str, object]
_MOST_CHARACTERS: Final = 200
"""Of a text that is shown; ids and keys have 64."""


def shown(filters: Sequence[Filter], most: int) -> tuple[list[FilterJson], int]:
    """The filters of a request, and how many of their values are left out since they have more than `most` in all.

    A limit that the relay has set itself, and for whom an answer is, are no part of what the client has asked. Searches
    are shown as they were understood, words folded. Where the values of a list are cut the first ones in order are
    shown, of a set that itself is a sample.
    """
    room = _Room(most)
    return [_shown(filter_, room) for filter_ in filters if room.left > 0 or room.leaves_out(filter_.size)], room.out


class _Room:
    """For values that are yet to be shown."""

    def __init__(self, most: int) -> None:
        self.left = most
        self.out = 0

    def leaves_out(self, number: int) -> bool:
        """Note that so many have no room; gives False."""
        self.out += number
        return False

    def some_of(self, values: frozenset[T]) -> list[T]:
        """Those that have room, in order."""
        if (over := len(values) - self.left) <= 0:
            self.left -= len(values)
            return sorted(values)
        self.out += over
        sample = [value for value, _ in zip(values, range(self.left), strict=False)]
        self.left = 0
        return sorted(sample)


def _shown(filter_: Filter, room: _Room) -> FilterJson:
    found: FilterJson = {}
    if filter_.ids is not None:
        found["ids"] = room.some_of(filter_.ids)
    if filter_.authors is not None:
        found["authors"] = room.some_of(filter_.authors)
    if filter_.kinds is not None:
        found["kinds"] = room.some_of(filter_.kinds)
    for name, values in _tags(filter_.tags):
        if values and not room.left:
            room.out += len(values)
        else:
            found[name] = [_clipped(value) for value in room.some_of(values)]
    if filter_.since is not None:
        found["since"] = filter_.since
    if filter_.until is not None:
        found["until"] = filter_.until
    if filter_.limit is not None and not filter_.is_clamped:
        found["limit"] = filter_.limit
    if filter_.search is not None:
        found["search"] = _clipped(search_text(filter_.search))
    return found


def _tags(tags: Iterable[tuple[str, frozenset[str]]]) -> Iterable[tuple[str, frozenset[str]]]:
    """Conditions by their keys: of a letter that stands there several times, single values are demanded (NIP-91)."""
    sets: dict[str, list[frozenset[str]]] = {}
    for letter, values in tags:
        sets.setdefault(letter, []).append(values)
    for letter, of_letter in sets.items():
        if len(of_letter) == 1:
            yield f"#{letter}", of_letter[0]
            continue
        for values in of_letter:
            if len(values) != 1:
                yield f"#{letter}", values
        if single := frozenset[str]().union(*(values for values in of_letter if len(values) == 1)):
            yield f"&{letter}", single


def search_text(search: Search) -> str:
    """A text that asks for the same (NIP-50)."""
    parts = [
        *(["…"] if search.is_void else []),  # which has no words either
        *map(_quoted, search.phrases),
        *(f"-{_quoted(phrase)}" for phrase in search.excluded),
        *(f"{key}:{value}" for key, value in (("language", search.language), ("domain", search.domain)) if value),
        *([f"sort:{search.sort}"] if search.sort else []),
        *([] if search.nsfw else ["nsfw:false"]),
        *(["include:spam"] if search.include_spam else []),
    ]
    return " ".join(parts)


def _quoted(phrase: Phrase) -> str:
    return typed(phrase) if len(phrase) == 1 else f'"{typed(phrase)}"'


def _clipped(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
