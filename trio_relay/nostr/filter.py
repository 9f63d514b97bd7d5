"""One filter of a REQ: parsed exactly, matched purely (NIP-01, "Communication between clients and relays")."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from sys import getsizeof
from typing import Final

import msgspec

from trio_relay.frozen import Frozen
from trio_relay.nostr.access import Reader, may_read
from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.nostr.event import MAX_TIME, Event, is_hex, tag_values
from trio_relay.nostr.kinds import MAX_KIND, is_addressable, is_replaceable
from trio_relay.nostr.search import Search, parse_search


class Filter(Frozen, frozen=True):
    """Which events a client asks for: a list means any of its values, several keys mean all of them.

    None means "not asked for"; an empty set means "asked for, and nothing can match". A `since` or `until` of 0 is a
    value like any other. Times are seconds since 1970, both ends included. `tags` keeps the order in which the client
    wrote the keys; a letter may come several times, and all of its sets count (NIP-91, draft).

    The relay adds two fields that no client writes: `reader`, for whom the answer is, so that the filter matches only
    what that reader may read; and `is_clamped`, True if the limit is the relay's own and not the client's.
    """

    ids: frozenset[str] | None = None
    authors: frozenset[str] | None = None
    kinds: frozenset[int] | None = None
    tags: tuple[tuple[str, frozenset[str]], ...] = ()
    since: int | None = None
    until: int | None = None
    limit: int | None = None
    search: Search | None = None
    reader: Reader | None = None
    is_clamped: bool = False

    def matches(self, event: Event, carried: Mapping[str, set[str]] | None = None) -> bool:
        """Return True if this filter asks for the event; `limit` and a search's `sort` play no part.

        Args:
            event: the event.
            carried: its `tag_values`, if many filters are asked about the same event.
        """
        if self.kinds is not None and event.kind not in self.kinds:
            return False
        if self.authors is not None and event.pubkey not in self.authors:
            return False
        if self.ids is not None and event.id not in self.ids:
            return False
        if self.since is not None and event.created_at < self.since:
            return False
        if self.until is not None and event.created_at > self.until:
            return False
        if self.tags:
            # Once for all letters: walking the tags for each made one long event against many letters take minutes.
            held = tag_values(event) if carried is None else carried
            for letter, values in self.tags:
                there = held.get(letter)
                if there is None or values.isdisjoint(there):
                    return False
        if self.reader is not None and not may_read(event, self.reader):
            return False
        return self.search is None or self.search.matches(event)

    @property
    def is_hopeless(self) -> bool:
        """True if no event can ever match: an empty list, `since` after `until`, or a search without words."""
        return (
            (self.ids is not None and not self.ids)
            or (self.authors is not None and not self.authors)
            or (self.kinds is not None and not self.kinds)
            or (self.tags != () and any(not values for _, values in self.tags))
            or (self.since is not None and self.until is not None and self.since > self.until)
            or (self.search is not None and self.search.is_void)
        )

    @property
    def wants_stored(self) -> bool:
        """True if a stored event could be an answer: not for `limit: 0`, nor for what can never match."""
        return self.limit != 0 and not self.is_hopeless

    @property
    def bound(self) -> int:
        """The most events that can match, where the filter itself says so: by ids, or by addresses; else 0.

        An address is an author and a replaceable kind, or an author, an addressable kind and a `#d` (NIP-01).
        """
        if self.ids is not None:
            return len(self.ids)
        if self.authors is None or not self.kinds or len(self.kinds) > _MOST_ADDRESSED:
            return 0
        names = min((len(values) for letter, values in self.tags if letter == "d"), default=0)
        bound = 0
        for kind in self.kinds:
            if not (is_replaceable(kind) or (names and is_addressable(kind))):
                return 0
            bound += 1 if is_replaceable(kind) else names
        return bound * len(self.authors)

    @property
    def size(self) -> int:
        """The number of values in its lists and its search: what an index of filters has to hold."""
        size = len(self.ids or ()) + len(self.authors or ()) + len(self.kinds or ())
        if self.search is not None:
            size += self.search.size
        for _, values in self.tags:
            size += len(values)
        return size

    @property
    def weight(self) -> int:
        """What it counts among `Limits.max_filter_values`, for the memory that it takes while it is open.

        Each value counts one, texts that are longer than an id one for each 128 bytes; each list, and the filter
        itself, count some more, however little they hold.
        """
        weight = _OWN_WEIGHT + self.size
        for letter, values in self.tags:
            weight += _LIST_WEIGHT
            if letter not in _HEX_LETTERS:
                # All in one text, which takes a fraction of the time.
                size = getsizeof("".join(values)) + _TEXT_BYTES * len(values)
                weight += max(0, size // _VALUE_BYTES - len(values))
        return weight

    def read_by(self, reader: Reader) -> Filter:
        """Return the same filter for this reader, with the keys of this moment.

        Most filters name kinds, none of them private: these stay as they are and cost nothing more. Who has not
        authenticated is concerned by no private event, so no store is asked for what it names of their kinds: it would
        take the longer the more there are. A search keeps its reader, since its order and the domains of authors come
        from other events than those that it finds.
        """
        kinds = self.kinds
        if kinds is not None and self.search is None and kinds.isdisjoint(reader.private_kinds):
            return self
        if kinds is not None and not reader.keys:
            kinds = kinds - reader.private_kinds
            if self.search is None:
                return msgspec.structs.replace(self, kinds=kinds)
        return msgspec.structs.replace(self, kinds=kinds, reader=reader.now())

    def with_limit(self, *, default: int, most: int) -> Filter:
        """Return the same filter limited to at most `most` stored events.

        Where the client named no limit, `default` counts, or as many events as there can be of the ids or addresses
        that it asks for: nobody would look for a second page of those.
        """
        limit = min(max(default, self.bound) if self.limit is None else self.limit, most)
        return self if limit == self.limit else msgspec.structs.replace(self, limit=limit, is_clamped=True)


def parse_filter(source: object, *, all_of: bool = False, prefix: int = 0) -> Filter:
    """Turn a decoded JSON value into a `Filter`.

    Args:
        source: what the client sent.
        all_of: take `&x` too, a list of values all of which an event must carry (NIP-91, draft).
        prefix: see `parse_search`.

    Raises:
        Rejected: `invalid:` naming the key that is wrong, `unsupported:` naming the key that is not known.
    """
    if not isinstance(source, dict):
        raise invalid("a filter must be an object")
    fields: dict[str, object] = {}
    tags: list[tuple[str, frozenset[str]]] = []
    every: list[tuple[str, frozenset[str]]] = []
    for key, value in source.items():
        if (parse := _FIELDS.get(key)) is not None:
            fields[key] = parse(key, value)
        elif key == "search":
            fields[key] = _search(value, prefix)
        elif len(key) == 2 and key[0] == "#" and key[1].isascii() and key[1].isalpha():
            tags.append((key[1], _tag_set(key, value)))
        elif all_of and len(key) == 2 and key[0] == "&" and key[1].isascii() and key[1].isalpha():
            every.append((key[1], _tag_set(key, value)))
        else:
            raise Rejected(Prefix.UNSUPPORTED, f"filter key {_shown(key)} is not known here")
    if every:
        tags += _demanded(every, tags)
    return Filter(tags=tuple(tags), **fields)  # type: ignore[arg-type]  # _FIELDS pairs each name with its type


_OWN_WEIGHT: Final = 5
"""Of a filter without values: it, its subscription and its line in the index take a kilobyte and more."""
_LIST_WEIGHT: Final = 1
"""Of a list of tag values, of which a filter may have many; an empty set takes 216 bytes."""
_VALUE_BYTES: Final = 128
"""Of a text that counts as one value: an id takes so many."""
_TEXT_BYTES: Final = 64
"""Of a text without characters, and of the room that is lost beside it."""
_HEX_LETTERS: Final = "ep"
_MOST_ADDRESSED: Final = 100
"""Kinds of a filter that are looked at for being addresses; clients name a few."""
_MOST_DEMANDED: Final = 16
"""Values of all `&x` of a filter: each is a condition of its own."""
_ONLY_TEXT: Final = frozenset({str})
_NO_TEXTS: Final[frozenset[str]] = frozenset()
_SMALL_SET: Final = 100
_SLOT_BYTES: Final = 64
"""Of a set for each of its values, at most, where it has many."""


def _hex_set(key: str, value: object) -> frozenset[str]:
    texts = _text_set(key, value)
    if texts and not (set(map(len, texts)) == {64} and is_hex("".join(texts))):
        raise invalid(f"{key} must hold strings of 64 lowercase hex characters")
    return texts


def _tag_set(key: str, value: object) -> frozenset[str]:
    # Ids and keys have one spelling; a value in another one could never match (NIP-01).
    return (_hex_set if key[1] in _HEX_LETTERS else _text_set)(key, value)


def _demanded(
    every: list[tuple[str, frozenset[str]]], tags: list[tuple[str, frozenset[str]]]
) -> list[tuple[str, frozenset[str]]]:
    """Return the conditions of `&x`: a set for each value, so that all are required; an empty list matches nothing.

    The values are taken out of those of `#x`, where any one of them would be enough.
    """
    if sum(len(values) for _, values in every) > _MOST_DEMANDED:
        raise invalid(f"at most {_MOST_DEMANDED} values of tags can be demanded by & in a filter")
    for letter, values in every:
        for place, (other, any_of) in enumerate(tags):
            if other == letter:
                tags[place] = (other, any_of - values or values)
    return [
        (letter, subset)
        for letter, values in every
        for subset in ([frozenset({v}) for v in sorted(values)] or [values])
    ]


def _text_set(key: str, value: object) -> frozenset[str]:
    if not isinstance(value, list) or not set(map(type, value)) <= _ONLY_TEXT:
        raise invalid(f"{key} must be a list of strings")
    if not value:
        return _NO_TEXTS  # one for all: a filter may have a hundred empty lists
    texts = frozenset(value)
    if len(texts) < _SMALL_SET or getsizeof(texts) <= _SLOT_BYTES * len(texts):
        return texts
    return frozenset(set(texts))  # one that grew value by value may have four times the room of its copy


def _kind_set(key: str, value: object) -> frozenset[int]:
    """Return the kinds, without those that no event can have: they match nothing, and that is an answer like any."""
    if not isinstance(value, list) or not all(type(item) is int and item >= 0 for item in value):
        raise invalid(f"{key} must be a list of integers, each 0 or more")
    return frozenset({item for item in value if item <= MAX_KIND})


def _time(key: str, value: object) -> int:
    return min(_natural(key, value), MAX_TIME)


def _natural(key: str, value: object) -> int:
    # In Python a boolean is an int, and 1.0 equals 1: only the exact type counts.
    if type(value) is not int or value < 0:
        raise invalid(f"{key} must be an integer, 0 or more")
    return min(value, 2**53)


def _search(value: object, prefix: int) -> Search | None:
    if not isinstance(value, str):
        raise invalid("search must be a string")
    return parse_search(value, prefix)


_FIELDS: Final[dict[str, Callable[[str, object], object]]] = {
    "ids": _hex_set,
    "authors": _hex_set,
    "kinds": _kind_set,
    "since": _time,
    "until": _time,
    "limit": _natural,
}


def _shown(key: str) -> str:
    return repr(key if len(key) <= 32 else key[:32] + "…")
