"""Filters to SQL: which index answers which shape. Pure; the tests compare its answers with a naive twin's.

Every plan yields narrow rows (created_at, rank, seq) out of an index, in NIP-01's order, limit applied; the events'
JSON is fetched last, for those only. One value for an index walks it in order and stops at the limit; a few values
become a walk each, merged; many values are gathered and sorted, narrow.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import apsw

from trio_relay.nostr.filter import Filter
from trio_relay.store.sqlite.records import rank_of, tag_key

_MOST_KIND_WALKS: Final = 32
_MOST_TAG_WALKS: Final = 4
"""Up to so many values of an index get a walk of their own; past that, sorting what they gather is cheaper."""

_MOST_INLINE: Final = 4
"""Up to so many values of a column stand in the text: a table of them costs 10 µs more. Each number is another text."""
_FEW_AUTHORS: Final = 8
_ID_LETTERS: Final = frozenset("eEqaA")
"""Letters whose values name one event, so that few others carry the same: the best index there is."""

_ORDER: Final = "ORDER BY created_at DESC, rank"


@dataclass(slots=True)
class Select:
    """One SELECT and what to bind to its question marks, in their order."""

    sql: str
    bindings: list[object]


def plan(filters: Sequence[Filter]) -> Select | None:
    """One SELECT of (created_at, rank, seq) for all the filters, de-duplicated and in order; None if nothing can match.

    Every filter must have a limit; each counts its own.
    """
    selects = [_plan_one(one) for one in filters if one.wants_stored]
    if len(selects) <= 1:
        return selects[0] if selects else None
    return _merge(selects, "UNION", _ORDER)


def plan_single(filters: Sequence[Filter]) -> Select | None:
    """One SELECT of the JSON itself where at most one event can match, a quarter of the work; else None."""
    if len(filters) != 1 or filters[0].ids is None or len(filters[0].ids) != 1 or not filters[0].wants_stored:
        return None
    where = _by_id(filters[0]).times(filters[0])
    return Select(
        f"SELECT CAST(json AS BLOB) FROM event INDEXED BY event_rank WHERE {' AND '.join(where.terms)}", where.bindings
    )


def _by_id(one: Filter) -> _Where:
    ids = _raw(one.ids or ())
    return _Where().is_in("rank", list(map(rank_of, ids))).is_in("id", ids).kinds(one).authors(one).tagged(one.tags)


def _plan_one(one: Filter) -> Select:
    if one.ids is not None:
        return _from_event("event_rank", one, _by_id(one))
    if one.tags and not (_prefers_authors(one)):
        return _by_tag(one)
    if one.authors is not None:
        # Without kinds, all that the authors have is gathered and sorted, narrow.
        return _from_event("event_author_kind", one, _Where().authors(one).kinds(one).tagged(one.tags))
    if one.kinds is None:
        return _from_event("event_time", one, _Where())
    if len(one.kinds) > _MOST_KIND_WALKS:
        return _from_event("event_kind", one, _Where().kinds(one))
    walks = [_from_event("event_kind", one, _Where().is_in("kind", [kind])) for kind in one.kinds]
    return _merge_walks(walks, "UNION ALL", one)


def _prefers_authors(one: Filter) -> bool:
    """True if the events of the authors are surely fewer than those with the tags."""
    if one.authors is None or len(one.authors) > _FEW_AUTHORS:
        return False
    return not any(letter in _ID_LETTERS for letter, _ in one.tags)


def _by_tag(one: Filter) -> Select:
    # Letters that name an event first, then the one with the fewest values.
    driver = min(one.tags, key=lambda tag: (tag[0] not in _ID_LETTERS, len(tag[1])))
    others = [tag for tag in one.tags if tag is not driver]
    keys = _keys(driver)
    groups = [[key] for key in keys] if len(keys) <= _MOST_TAG_WALKS else [keys]
    return _merge_walks([_from_tag(one, group, others) for group in groups], "UNION", one)


def _from_tag(one: Filter, keys: list[bytes], others: Iterable[tuple[str, frozenset[str]]]) -> Select:
    where = _Where().is_in("key", keys).kinds(one).times(one)
    if one.authors is not None:
        where.is_in("(SELECT pubkey FROM event WHERE event.seq = tag.seq)", _raw(one.authors))
    # One event may stand under several of the keys.
    distinct = "DISTINCT " if len(keys) > 1 else ""
    return _finish(f"SELECT {distinct}created_at, rank, seq FROM tag", where.tagged(others, "tag"), one)


def _from_event(index: str, one: Filter, where: _Where) -> Select:
    return _finish(f"SELECT created_at, rank, seq FROM event INDEXED BY {index}", where.times(one), one)


def _finish(head: str, where: _Where, one: Filter) -> Select:
    condition = f" WHERE {' AND '.join(where.terms)}" if where.terms else ""
    return Select(f"{head}{condition} {_ORDER} LIMIT ?", [*where.bindings, one.limit])


def _merge_walks(walks: list[Select], how: str, one: Filter) -> Select:
    if len(walks) == 1:
        return walks[0]
    merged = _merge(walks, how, f"{_ORDER} LIMIT ?")
    merged.bindings.append(one.limit)
    return merged


def _merge(selects: list[Select], how: str, end: str) -> Select:
    sql = f" {how} ".join(f"SELECT * FROM ({part.sql})" for part in selects)
    return Select(f"{sql} {end}", [binding for part in selects for binding in part.bindings])


@dataclass(slots=True)
class _Where:
    """A WHERE clause that grows with what a filter asks for; all its text is ours, all values are bound."""

    terms: list[str] = field(default_factory=list)
    bindings: list[object] = field(default_factory=list)

    def is_in(self, column: str, values: Sequence[bytes] | Sequence[int]) -> _Where:
        if len(values) == 1:
            self.terms.append(f"{column} = ?")
            self.bindings.append(values[0])
        elif len(values) <= _MOST_INLINE:
            self.terms.append(f"{column} IN ({', '.join('?' * len(values))})")
            self.bindings += values
        else:
            self.terms.append(f"{column} IN (SELECT value FROM carray(?))")
            self.bindings.append(_array(values))
        return self

    def kinds(self, one: Filter) -> _Where:
        return self if one.kinds is None else self.is_in("kind", sorted(one.kinds))

    def authors(self, one: Filter) -> _Where:
        return self if one.authors is None else self.is_in("pubkey", _raw(one.authors))

    def times(self, one: Filter) -> _Where:
        for term, value in (("created_at >= ?", one.since), ("created_at <= ?", one.until)):
            if value is not None:
                self.terms.append(term)
                self.bindings.append(value)
        return self

    def tagged(self, tags: Iterable[tuple[str, frozenset[str]]], table: str = "event") -> _Where:
        for tag in tags:
            key = _Where().is_in("other.key", _keys(tag))
            same_event = " AND ".join(f"other.{name} = {table}.{name}" for name in ("created_at", "rank", "seq"))
            # Not EXISTS: SQLite makes a join of each, and to plan fifty of them takes it a second.
            self.terms.append(f"(SELECT 1 FROM tag AS other WHERE {key.terms[0]} AND {same_event}) IS NOT NULL")
            self.bindings += key.bindings
        return self


def _raw(texts: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def _keys(tag: tuple[str, frozenset[str]]) -> list[bytes]:
    letter, values = tag
    return [tag_key(letter, value) for value in values]


def _array(values: Sequence[bytes] | Sequence[int]) -> object:
    if isinstance(values[0], int):
        return apsw.carray(array("q", values))
    return apsw.carray(tuple(values))
