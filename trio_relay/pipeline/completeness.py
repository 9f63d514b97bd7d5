"""Whether an answer was the whole answer, and which seconds it must not cut (NIP-67). Pure.

Where it matters, a filter is asked for one event more than its limit. If that one comes, it is not sent, and there is
more. Most answers can be neither filled up nor hinted at: these are asked for as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from trio_relay.nostr.access import Reader
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import WRAPS
from trio_relay.nostr.search import is_searched

FILLED_FROM: Final = 100
"""A client that asks for so many events reads pages; one that asks for fewer wants just these."""


def with_one_more(filters: Sequence[Filter], *, hints: bool) -> Sequence[Filter]:
    """What to ask for in order to see whether there is more; of several filters each could have its own more.

    Their limits cannot be told apart in one answer, so several are asked for as they are: see `at_risk`. So is one that
    names no more ids than its limit.

    Args:
        filters: each with a limit.
        hints: whether the end of the answer will say what there is to say.
    """
    if len(filters) != 1:
        return filters
    filter_ = filters[0]
    limit, ids = filter_.limit, filter_.ids
    if not limit or (ids is not None and len(ids) <= limit) or not (hints or could_be_filled(filter_)):
        return filters
    return [replace(filter_, limit=limit + 1)]


def could_be_filled(filter_: Filter) -> bool:
    """True if its answer may have more events than its limit says, where that would cut a second.

    That is so for the relay's own limits, and for a client that goes back in time by `until` in pages of a hundred
    events or more: with a page that lies whole in one second it could go no further.
    """
    return (
        (filter_.is_clamped or (filter_.until is not None and (filter_.limit or 0) >= FILLED_FROM))
        and filter_.search is None
        and filter_.wants_stored
    )


def to_be_filled(filters: Sequence[Filter], found: int, oldest: int, *, is_cut: bool) -> list[Filter]:
    """The filters of which the rest of the last second has to be sent, too.

    Args:
        filters: those that want anything stored.
        found: events of the answer.
        oldest: `created_at` of the last one.
        is_cut: of a single filter, whether there is more than its limit lets through.
    """
    if len(filters) == 1:
        (filter_,) = filters
        is_stuck = is_cut and (filter_.is_clamped or oldest == filter_.until)
        return [filter_] if is_stuck and could_be_filled(filter_) else []
    return [
        filter_
        for filter_ in filters
        if filter_.until == oldest and could_be_filled(filter_) and (filter_.limit or 0) <= found
    ]


def at_risk(filters: Sequence[Filter], found: int) -> list[Filter]:
    """Those of several filters that an answer of so many events may have cut short."""
    hopeful = [filter_ for filter_ in filters if filter_.wants_stored]
    if len(hopeful) == 1:
        return []
    return [
        filter_
        for filter_ in hopeful
        if filter_.limit is not None
        and filter_.limit <= found
        and (filter_.ids is None or len(filter_.ids) > filter_.limit)
    ]


def is_inexact(filters: Sequence[Filter]) -> bool:
    """True if an answer is a choice by its nature, of which nobody can say that it is whole: `sort:`."""
    return any(filter_.search is not None and filter_.search.sort is not None for filter_ in filters)


def could_hide(filter_: Filter, reader: Reader) -> bool:
    """True if a filter could match events that are withheld from this reader.

    It goes by the filter alone, never by what is stored: else a missing hint would tell that somebody has messages, and
    narrower and narrower filters would tell when they were written.

    Args:
        filter_: as the client wrote it.
        reader: who asked.
    """
    if filter_.is_hopeless:
        return False
    kinds = reader.private_kinds if filter_.kinds is None else filter_.kinds & reader.private_kinds
    if filter_.search is not None and filter_.search.phrases:
        kinds = frozenset(filter(is_searched, kinds))  # what has no words cannot match
    named = [values for letter, values in filter_.tags if letter == "p"]
    if any(values and values <= reader.keys for values in named):
        return False  # all of them name the reader
    if filter_.authors is not None and filter_.authors <= reader.keys:
        kinds &= WRAPS  # all others are the reader's own
    return bool(kinds)


def ties_of(filter_: Filter, created_at: int, most: int) -> Filter:
    """All events of the second at which an answer was cut, up to so many.

    A client that goes on from there with `until` would miss the others (NIP-67, "Semantics around created_at ties").
    """
    return replace(filter_, since=created_at, until=created_at, limit=most)


def older_than(filter_: Filter, created_at: int) -> Filter:
    """Whatever comes after that second, one event of it: whether there is still more when its ties have been sent."""
    return replace(filter_, until=created_at - 1, limit=1)
