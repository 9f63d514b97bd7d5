"""Splits filters so that no index is walked over what their readers may not read. Pure; for `planner`.

A reader gets private events of its own and those that name it, and indexes find both. Rows of others' private events
are not looked at one by one and left out: an answer would take the longer the more of them there are, and so tell that.
What is private by its kind (`access.PRIVATE_KINDS`) has keys of its own in `tag` (`rows.SEALED`), so that a walk over a
tag's value meets none of it.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from trio_relay.nostr.access import PRIVATE_KINDS, Reader
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import WRAPS
from trio_relay.store.sqlite.rows import MARK
from trio_relay.store.sqlite.sql import sealed


class Way(Enum):
    """Which index has to answer a part, whatever else it names."""

    ANY = auto()
    OWN = auto()
    """That of authors: they are the reader's keys."""
    NAMED = auto()
    """That of tags, by the first tag: its values are the reader's keys."""


class Part(Filter, frozen=True):
    """A part of a filter; the letters of its tags say which keys they have."""

    way: Way = Way.ANY


_NAME: Final = "p"


def parts_of(filter_: Filter) -> list[Filter]:
    """Return filters that together match what its reader may read, without those that can find nothing."""
    if isinstance(filter_, Part) or filter_.ids is not None:
        parts = [filter_]
    elif _has_words(filter_) or all(letter == MARK for letter, _ in filter_.tags):
        parts = _by_kind(filter_)
    else:
        parts = _by_key(filter_)
    return [part for part in parts if part.wants_stored]


def _has_words(filter_: Filter) -> bool:
    return filter_.search is not None and bool(filter_.search.phrases)


def _by_kind(filter_: Filter) -> list[Filter]:
    """Split by kinds, if the filter names any that are private; the tags of words' events are no sealed ones."""
    reader, kinds = filter_.reader, filter_.kinds
    if reader is None or kinds is None:
        return [filter_]
    private = kinds & reader.private_kinds
    if not private or (_has_words(filter_) and private != kinds):
        return [filter_]
    return [
        _part(filter_, kinds=kinds - private, reader=None),
        _own(filter_, private, reader),
        _named(filter_, private - PRIVATE_KINDS, reader),
        _named(_part(filter_, tags=tuple(map(sealed, filter_.tags))), private & PRIVATE_KINDS, reader),
    ]


def _by_key(filter_: Filter) -> list[Filter]:
    """Split a filter with tags by the two sorts of keys that they may have."""
    reader, kinds = filter_.reader, filter_.kinds
    if kinds is not None and kinds.isdisjoint(PRIVATE_KINDS):
        return _by_kind(filter_)
    hidden = PRIVATE_KINDS if kinds is None else kinds & PRIVATE_KINDS
    others = _part(filter_, kinds=None if kinds is None else kinds - PRIVATE_KINDS)
    behind = _part(filter_, kinds=hidden, tags=tuple(map(sealed, filter_.tags)), reader=None)
    if reader is None:
        return [others, behind]
    if reader.private_kinds <= PRIVATE_KINDS:
        others = _part(others, reader=None)
    private = hidden & reader.private_kinds
    return [
        *(_by_kind(others)),
        _part(behind, kinds=hidden - private),
        _own(behind, private, reader),
        _named(behind, private, reader),
    ]


def _own(filter_: Filter, kinds: frozenset[int], reader: Reader) -> Part:
    """What the reader wrote; a wrap is of nobody."""
    keys = frozenset(reader.keys)
    authors = keys if filter_.authors is None else keys & filter_.authors
    return _part(filter_, kinds=kinds - WRAPS, authors=authors, reader=None, way=Way.OWN)


def _named(filter_: Filter, kinds: frozenset[int], reader: Reader) -> Part:
    """What names the reader, but for what is its own already."""
    if filter_.authors is not None and filter_.authors <= reader.keys:
        kinds &= WRAPS
    tag = (_NAME, frozenset(reader.keys))
    first = sealed(tag) if kinds <= PRIVATE_KINDS else tag
    others = list(filter_.tags)
    for letter, values in filter_.tags:
        if letter == first[0] and values <= first[1]:  # which says it already, and more exactly
            first = (letter, values)
            others.remove(first)
            break
    return _part(filter_, kinds=kinds, tags=(first, *others), reader=None, way=Way.NAMED)


def _part(filter_: Filter, **changes: object) -> Part:
    if filter_.search is not None:
        changes.pop("reader", None)  # who is of a domain depends on what this reader may read
    fields = {name: getattr(filter_, name) for name in Filter.__struct_fields__}
    return Part(**fields | changes)
