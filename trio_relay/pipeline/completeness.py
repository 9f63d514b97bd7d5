"""Whether an answer was the whole answer (NIP-67): asked for exactly, and said only where it is sure. Pure.

A filter is asked for one event more than its limit. If that one comes, it is not sent, and there is more.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from trio_relay.nostr.access import Reader
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import WRAPS


def with_one_more(filters: Sequence[Filter]) -> list[Filter]:
    """What to ask for in order to see whether there is more; of several filters each could have its own more.

    Their limits cannot be told apart in one answer, so several are asked for as they are: see `at_risk`.
    """
    if len(filters) == 1 and filters[0].limit:
        return [replace(filters[0], limit=filters[0].limit + 1)]
    return list(filters)


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
    """
    if filter_.reader is None or filter_.is_hopeless:
        return False
    kinds = reader.private_kinds if filter_.kinds is None else filter_.kinds & reader.private_kinds
    named = [values for letter, values in filter_.tags if letter == "p"]
    if any(values and values <= reader.keys for values in named):
        return False  # all of them name the reader
    if filter_.authors is not None and filter_.authors <= reader.keys:
        kinds &= WRAPS  # all others are the reader's own
    return bool(kinds)


def ties_of(filter_: Filter, created_at: int, most: int) -> Filter:
    """All events of the second at which the relay's own limit has cut an answer.

    Who goes on from there with `until` would miss the others (NIP-67, "Semantics around created_at ties").
    """
    return replace(filter_, since=created_at, until=created_at, limit=most)


def older_than(filter_: Filter, created_at: int) -> Filter:
    """Whatever comes after that second, one event of it: whether there is still more when its ties have been sent."""
    return replace(filter_, until=created_at - 1, limit=1)
