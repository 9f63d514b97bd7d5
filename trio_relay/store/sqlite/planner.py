"""Plans the SQL of filters: which index answers which shape. Pure; tests compare its answers with a naive twin's.

Every plan gives narrow rows (created_at, rank, seq) from an index, in NIP-01's order, with the limit applied; the
events' JSON is fetched last, for these rows only. For one value an index is walked in order up to the limit; a few
values become a walk each, merged; for many values the narrow rows are gathered and sorted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from trio_relay.nostr.filter import Filter
from trio_relay.nostr.ranking import hides_words
from trio_relay.store.sqlite.parts import Part, Way, parts_of
from trio_relay.store.sqlite.rows import MARK, rank_of
from trio_relay.store.sqlite.sql import AUTHOR, Select, Where, all_of, keys_of, raw, whole_of

_MOST_KIND_WALKS: Final = 32
_MOST_TAG_WALKS: Final = 4
"""Up to so many values of an index get a walk of their own; beyond that, gathering and sorting is cheaper."""

_FEW_AUTHORS: Final = 8
_NO_LIMIT: Final = 2**53
_ID_LETTERS: Final = frozenset("eEqaA")
"""Letters whose values name one event, so that few events carry the same value: the best index there is."""

_ORDER: Final = "ORDER BY created_at DESC, rank"
_BEST_FIRST: Final = "ORDER BY hit.score, created_at DESC, rank"


def plan(filters: Sequence[Filter], expired_by: int | None = None) -> Select | None:
    """Plan one SELECT of (created_at, rank, seq) for all filters, each event once, in order; None if nothing can match.

    Args:
        filters: each has a limit of its own; none may search for words, which have an order of their own.
        expired_by: events that expire up to this second are left out; None if no stored event does.
    """
    readable = [(filter_, parts) for filter_ in filters if (parts := parts_of(filter_))]
    selects = [
        _merge_walks([_plan_one(part, expired_by) for part in parts], "UNION", filter_) for filter_, parts in readable
    ]
    if len(selects) <= 1:
        return selects[0] if selects else None
    return _merge(selects, "UNION", _ORDER)


def plan_one(filter_: Filter, expired_by: int | None = None) -> Select:
    """Plan one SELECT of (created_at, rank, seq) for a filter with a search: best first; newest if it has no words.

    Where words may be hidden from the reader, whole words come before beginnings, and nothing else counts.
    """
    return _by_words(filter_, _BEST_FIRST, expired_by) if _has_words(filter_) else plan_newest(filter_, expired_by)


def plan_newest(filter_: Filter, expired_by: int | None = None) -> Select:
    """Plan the same as `plan_one`, newest first; in no order if there is no limit."""
    if _has_words(filter_):
        return _by_words(filter_, _ORDER, expired_by)
    marked = _with_marks(filter_)
    walks = [_plan_one(part, expired_by) for part in parts_of(marked)]
    return _merge_walks(walks, "UNION", marked) if walks else _plan_one(marked, expired_by)


def plan_records(filter_: Filter, expired_by: int | None = None) -> Select | None:
    """Plan one SELECT of (created_at, rank, seq) for a filter with a limit or without, newest first.

    None if nothing can match.
    """
    filter_ = filter_ if filter_.limit is not None else replace(filter_, limit=_NO_LIMIT)
    parts = [plan_newest(part, expired_by) for part in parts_of(filter_)]
    return _merge_walks(parts, "UNION", filter_) if parts else None


def plan_all(filters: Sequence[Filter], expired_by: int | None = None) -> Select | None:
    """Plan one SELECT of (created_at, rank, seq) of everything that matches any filter, whatever the limits, each once.

    It has no order. None if nothing can match.
    """
    selects = [plan_newest(part, expired_by) for filter_ in filters for part in parts_of(replace(filter_, limit=None))]
    if not selects:
        return None
    return selects[0] if len(selects) == 1 else _merge(selects, "UNION")


def plan_count(filters: Sequence[Filter], expired_by: int | None = None) -> Select | None:
    """Plan one SELECT of how many events match any of the filters, whatever the limits; None if nothing can match."""
    every = plan_all(filters, expired_by)
    return None if every is None else Select(f"SELECT count(*) FROM ({every.sql})", every.bindings)


def plan_sketch(filter_: Filter, expired_by: int | None = None) -> Select:
    """Plan one SELECT of one text for a filter of `hyperloglog.canonical_offset`: number of events, then sketches.

    Commas stand between them. It is answered from the index of tags alone.
    """
    (tag,) = filter_.tags
    where = Where().is_in("key", keys_of(tag)).kinds(filter_).served(filter_, "tag", expired_by)
    found = "concat_ws(',', count(*), group_concat(DISTINCT sketch))"
    return Select(f"SELECT {found} FROM tag WHERE {' AND '.join(where.terms)}", where.bindings)


def plan_single(filters: Sequence[Filter], expired_by: int | None = None) -> Select | None:
    """Plan one SELECT of the JSON itself if at most one event can match, a quarter of the work; else None."""
    if len(filters) != 1 or filters[0].ids is None or len(filters[0].ids) != 1 or not filters[0].wants_stored:
        return None
    where = _by_id(filters[0]).times(filters[0]).served(filters[0], expired_by=expired_by)
    return Select(
        f"SELECT CAST(json AS BLOB) FROM event INDEXED BY event_rank WHERE {' AND '.join(where.terms)}", where.bindings
    )


def _by_id(filter_: Filter) -> Where:
    ids = raw(filter_.ids or ())
    return (
        Where()
        .is_in("rank", list(map(rank_of, ids)))
        .is_in("id", ids)
        .kinds(filter_)
        .authors(filter_)
        .tagged(filter_.tags, sealed_too=True)
    )


def _plan_one(filter_: Filter, expired_by: int | None) -> Select:
    if filter_.ids is not None:
        return _from_event("event_rank", filter_, _by_id(filter_), expired_by)
    if filter_.tags and not _prefers_authors(filter_):
        return _by_tag(filter_, expired_by)
    if filter_.authors is not None or (filter_.search is not None and filter_.search.domain is not None):
        # Without kinds, the narrow rows of all that the authors have are gathered and sorted.
        return _from_event(
            "event_author_kind", filter_, Where().authors(filter_).kinds(filter_).tagged(filter_.tags), expired_by
        )
    if filter_.kinds is None:
        return _from_event("event_time", filter_, Where(), expired_by)
    if len(filter_.kinds) > _MOST_KIND_WALKS:
        return _from_event("event_kind", filter_, Where().kinds(filter_), expired_by)
    walks = [_from_event("event_kind", filter_, Where().is_in("kind", [kind]), expired_by) for kind in filter_.kinds]
    return _merge_walks(walks, "UNION ALL", filter_)


def _prefers_authors(filter_: Filter) -> bool:
    """Return True if the authors surely have fewer events than the tags, or if they are the reader's own keys."""
    if isinstance(filter_, Part) and filter_.way is not Way.ANY:
        return filter_.way is Way.OWN
    if filter_.authors is None or len(filter_.authors) > _FEW_AUTHORS:
        return False
    return not any(_names_one(tag) for tag in filter_.tags)


def _names_one(tag: tuple[str, frozenset[str]]) -> bool:
    return tag[0][-1] in _ID_LETTERS


def _by_tag(filter_: Filter, expired_by: int | None) -> Select:
    # Letters that name an event first, then the one with the fewest values.
    driver = min(filter_.tags, key=lambda tag: (not _names_one(tag), len(tag[1])))
    if isinstance(filter_, Part) and filter_.way is Way.NAMED:
        driver = filter_.tags[0]
    others = list(filter_.tags)
    others.remove(driver)  # not by identity, which tuples do not keep where this is compiled
    keys = keys_of(driver)
    groups = [[key] for key in keys] if len(keys) <= _MOST_TAG_WALKS else [keys]
    return _merge_walks([_from_tag(filter_, group, others, expired_by) for group in groups], "UNION", filter_)


def _from_tag(
    filter_: Filter, keys: list[bytes], others: Iterable[tuple[str, frozenset[str]]], expired_by: int | None
) -> Select:
    where = Where().is_in("key", keys).kinds(filter_).times(filter_).searched(filter_, "tag", expired_by)
    if filter_.authors is not None:
        where.is_in(AUTHOR, raw(filter_.authors))
    # One event may stand under several of the keys.
    distinct = "DISTINCT " if len(keys) > 1 else ""
    where.tagged(others, "tag").served(filter_, "tag", expired_by)
    return _finish(f"SELECT {distinct}created_at, rank, seq FROM tag", where, filter_)


def _from_event(index: str, filter_: Filter, where: Where, expired_by: int | None) -> Select:
    where.times(filter_).searched(filter_, expired_by=expired_by).served(filter_, expired_by=expired_by)
    return _finish(f"SELECT created_at, rank, seq FROM event INDEXED BY {index}", where, filter_)


def _by_words(filter_: Filter, order: str, expired_by: int | None) -> Select:
    """Plan from the index of words; every other condition is checked on the events."""
    assert filter_.search is not None
    where = (
        Where()
        .kinds(filter_)
        .authors(filter_)
        .tagged(_with_marks(filter_).tags)
        .times(filter_)
        .searched(filter_, expired_by=expired_by)
    )
    if filter_.ids is not None:
        where.is_in("rank", list(map(rank_of, raw(filter_.ids)))).is_in("id", raw(filter_.ids))
    where.served(filter_, expired_by=expired_by).bindings.insert(0, all_of(filter_.search))
    hits = SCORED_HITS if order == _BEST_FIRST else HITS
    if order == _BEST_FIRST and hides_words(filter_.reader):
        hits = WHOLE_FIRST
        where.bindings.insert(0, whole_of(filter_.search))
    head = f"SELECT created_at, rank, seq FROM ({hits}) AS hit CROSS JOIN event ON event.seq = hit.found"
    return _finish(head, where, filter_, order)


HITS: Final = "SELECT rowid AS found FROM word WHERE word MATCH ?"
SCORED_HITS: Final = "SELECT rowid AS found, bm25(word) AS score FROM word WHERE word MATCH ?"
WHOLE_FIRST: Final = """
SELECT rowid AS found, rowid NOT IN (SELECT rowid FROM word WHERE word MATCH ?) AS score FROM word WHERE word MATCH ?
"""


def _has_words(filter_: Filter) -> bool:
    return filter_.search is not None and bool(filter_.search.phrases)


def _with_marks(filter_: Filter) -> Filter:
    """Return the same filter with the marks that its search asks for as tags, which they are in the index."""
    if filter_.search is None or not filter_.search.marks:
        return filter_
    return replace(filter_, tags=(*filter_.tags, *((MARK, frozenset([mark])) for mark in filter_.search.marks)))


def _finish(head: str, where: Where, filter_: Filter, order: str = _ORDER) -> Select:
    condition = f" WHERE {' AND '.join(where.terms)}" if where.terms else ""
    if filter_.limit is None:  # to be counted
        return Select(f"{head}{condition}", where.bindings)
    return Select(f"{head}{condition} {order} LIMIT ?", [*where.bindings, filter_.limit])


def _merge_walks(walks: list[Select], how: str, filter_: Filter) -> Select:
    if len(walks) == 1:
        return walks[0]
    if filter_.limit is None:
        return _merge(walks, how)
    merged = _merge(walks, how, f"{_ORDER} LIMIT ?")
    merged.bindings.append(filter_.limit)
    return merged


def _merge(selects: list[Select], how: str, end: str = "") -> Select:
    sql = f" {how} ".join(f"SELECT * FROM ({part.sql})" for part in selects)
    return Select(f"{sql} {end}", [binding for part in selects for binding in part.bindings])
