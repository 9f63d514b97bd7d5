"""Answers to searches that ask for anything but pages of events: numbers, keys, times and ids. Pure.

What an answer has to have stands here as types, so that one of another shape is told of and harms nobody.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from trio_relay.nostr.hyperloglog import REGISTERS


class Shards(msgspec.Struct, gc=False):
    """How many of them could not answer."""

    failed: int = 0


class Whole(msgspec.Struct, gc=False):
    """What each answer to one search has."""

    timed_out: bool
    shards: Shards = msgspec.field(name="_shards")


class Number(msgspec.Struct, gc=False):
    """A count."""

    value: int


class _Total(msgspec.Struct, gc=False):
    total: Number


class Counted(Whole, gc=False):
    """How many there are."""

    hits: _Total


class _Place(msgspec.Struct, gc=False):
    # No pattern: it would take four times as long as all the rest.
    sort: tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[str, msgspec.Meta(min_length=64, max_length=64)]]


class _Places(msgspec.Struct, gc=False):
    hits: list[_Place]


class Placed(Whole, gc=False):
    """Where events stand in NIP-01's order: created_at and id. OpenSearch leaves out a part that is empty."""

    hits: _Places = msgspec.field(default_factory=lambda: _Places([]))


class _Named(msgspec.Struct, gc=False):
    id: list[str]


class _Identity(msgspec.Struct, gc=False):
    fields: _Named


class _Identities(msgspec.Struct, gc=False):
    hits: list[_Identity]


class Identified(Whole, gc=False):
    """Which events they are."""

    hits: _Identities


class _Author(msgspec.Struct, gc=False):
    pubkey: list[str]


class _Profile(msgspec.Struct, gc=False):
    fields: _Author


class _Profiles(msgspec.Struct, gc=False):
    hits: list[_Profile]


class Profiles(Whole, gc=False):
    """Whose they are."""

    hits: _Profiles


class _Keys(msgspec.Struct, gc=False):
    keys: Number = msgspec.field(default_factory=lambda: Number(0))


class Bucket(msgspec.Struct, gc=False):
    """How many keys speak of one thing, and where that was asked, how many vote for and against it."""

    key: str
    keys: Number
    up: _Keys = msgspec.field(default_factory=_Keys)
    down: _Keys = msgspec.field(default_factory=_Keys)


class Buckets(msgspec.Struct, gc=False):
    """Some things."""

    buckets: list[Bucket]


class _Notes(msgspec.Struct, gc=False):
    notes: Buckets


class Spoken(Whole, gc=False):
    """How many speak of notes."""

    aggregations: _Notes


class _Trends(msgspec.Struct, gc=False):
    notes: Buckets
    tags: Buckets
    authors: Buckets


class Trended(Counted, gc=False):
    """How many speak of notes, tags and people."""

    aggregations: _Trends


class _Registers(msgspec.Struct, gc=False):
    value: Annotated[
        list[Annotated[int, msgspec.Meta(ge=0, le=64)]], msgspec.Meta(min_length=REGISTERS, max_length=REGISTERS)
    ]


class _Sketch(msgspec.Struct, gc=False):
    sketch: _Registers


class Sketched(Counted, gc=False):
    """How many there are, and the registers of who has written them."""

    aggregations: _Sketch
