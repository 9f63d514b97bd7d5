"""Types of answers to searches for anything but pages of events: numbers, keys, times and ids. Pure.

An answer of another shape fails to decode, and is reported as a failure of the store.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from trio_relay.nostr.hyperloglog import REGISTERS


class Shards(msgspec.Struct, gc=False):
    """The number of shards that could not answer."""

    failed: int = 0


class Whole(msgspec.Struct, gc=False):
    """What every answer to one search has."""

    timed_out: bool
    shards: Shards = msgspec.field(name="_shards")


class Number(msgspec.Struct, gc=False):
    """A count."""

    value: int


class _Total(msgspec.Struct, gc=False):
    total: Number


class Counted(Whole, gc=False):
    """The number of hits."""

    hits: _Total


class _Place(msgspec.Struct, gc=False):
    # Not checked by a pattern, which would take four times as long as everything else.
    sort: tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[str, msgspec.Meta(min_length=64, max_length=64)]]


class _Places(msgspec.Struct, gc=False):
    hits: list[_Place]


class Placed(Whole, gc=False):
    """Positions of events in NIP-01's order: created_at and id. OpenSearch leaves out a part that is empty."""

    hits: _Places = msgspec.field(default_factory=lambda: _Places([]))


class _Looks(msgspec.Struct, gc=False):
    pubkey: list[str] = []
    kind: list[str] = []


class _Content(msgspec.Struct, gc=False):
    event: str = ""


class LookedAt(_Place, gc=False):
    """The position of an event with its columns, or with the event as JSON, whichever was asked for."""

    fields: _Looks = msgspec.field(default_factory=_Looks)
    source: _Content = msgspec.field(name="_source", default_factory=_Content)


class _AllLooked(msgspec.Struct, gc=False):
    hits: list[LookedAt]


class Looked(Whole, gc=False):
    """What a survey looks at. OpenSearch leaves out a part that is empty."""

    hits: _AllLooked = msgspec.field(default_factory=lambda: _AllLooked([]))


class _Named(msgspec.Struct, gc=False):
    id: list[str]


class _Identity(msgspec.Struct, gc=False):
    fields: _Named


class _Identities(msgspec.Struct, gc=False):
    hits: list[_Identity]


class Identified(Whole, gc=False):
    """The ids of events."""

    hits: _Identities


class _ArchivedSource(msgspec.Struct, gc=False):
    event: str
    at: int
    reason: str
    cause: str = ""


class _ArchivedHit(msgspec.Struct, gc=False):
    sort: list[Any]
    source: _ArchivedSource = msgspec.field(name="_source")


class _ArchivedHits(msgspec.Struct, gc=False):
    hits: list[_ArchivedHit]


class ArchivedFound(Whole, gc=False):
    """What the archive holds."""

    hits: _ArchivedHits


class _Author(msgspec.Struct, gc=False):
    pubkey: list[str]


class _Profile(msgspec.Struct, gc=False):
    fields: _Author


class _Profiles(msgspec.Struct, gc=False):
    hits: list[_Profile]


class Profiles(Whole, gc=False):
    """The authors of events."""

    hits: _Profiles


class _Keys(msgspec.Struct, gc=False):
    keys: Number = msgspec.field(default_factory=lambda: Number(0))


class Bucket(msgspec.Struct, gc=False):
    """The number of keys that refer to one thing and, if asked for, that vote for and against it."""

    key: str
    keys: Number
    up: _Keys = msgspec.field(default_factory=_Keys)
    down: _Keys = msgspec.field(default_factory=_Keys)


class Buckets(msgspec.Struct, gc=False):
    """A list of buckets."""

    buckets: list[Bucket]


class _Notes(msgspec.Struct, gc=False):
    notes: Buckets


class Spoken(Whole, gc=False):
    """Keys that refer to notes."""

    aggregations: _Notes


class _Trends(msgspec.Struct, gc=False):
    notes: Buckets
    tags: Buckets
    authors: Buckets


class Trended(Counted, gc=False):
    """Keys that refer to notes, tags and people."""

    aggregations: _Trends


class _Registers(msgspec.Struct, gc=False):
    value: Annotated[
        list[Annotated[int, msgspec.Meta(ge=0, le=64)]], msgspec.Meta(min_length=REGISTERS, max_length=REGISTERS)
    ]


class _Sketch(msgspec.Struct, gc=False):
    sketch: _Registers


class Sketched(Counted, gc=False):
    """The number of hits, and the registers of their authors."""

    aggregations: _Sketch


class _NamedCount(msgspec.Struct, gc=False):
    key: str
    doc_count: int


class _NamedCounts(msgspec.Struct, gc=False):
    buckets: list[_NamedCount]


class _Day(msgspec.Struct, gc=False):
    day: float


class _DayCount(msgspec.Struct, gc=False):
    key: _Day
    doc_count: int


class _DayCounts(msgspec.Struct, gc=False):
    buckets: list[_DayCount]


class _Filtered(msgspec.Struct, gc=False):
    doc_count: int


class _Least(msgspec.Struct, gc=False):
    value: float | None


class _Tallies(msgspec.Struct, gc=False):
    kinds: _NamedCounts
    authors: _NamedCounts
    days: _DayCounts
    expiring: _Filtered
    next: _Least


class Tallied(Counted, gc=False):
    """The number of events by kind, by author and by day, and of those that expire."""

    aggregations: _Tallies


class _KindCounts(msgspec.Struct, gc=False):
    kinds: _NamedCounts


class OfKinds(Whole, gc=False):
    """The number of events by kind."""

    aggregations: _KindCounts


class _Spaces(msgspec.Struct, gc=False):
    worded: _Filtered
    tombstones: _Filtered
    metadata: _Filtered


class Spaced(Whole, gc=False):
    """What is in an index, by what it is."""

    aggregations: _Spaces
