"""The limits that are enforced, and so the limits that NIP-11 publishes."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

MAX_SUB_ID_LENGTH: Final = 64
"""NIP-01's own number, so it is no setting; characters."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one client may ask of the relay; each is enforced, and published by NIP-11 where that has a field for it."""

    max_message_length: Annotated[
        int,
        Meta(ge=1024, le=2**28, description="Longest WebSocket message that is read.", extra={"unit": "bytes"}),
    ] = 1_048_576
    max_content_length: Annotated[
        int, Meta(ge=0, description="Longest content of an event.", extra={"unit": "characters"})
    ] = 262_144
    max_event_tags: Annotated[int, Meta(ge=0, description="Most tags of an event.", extra={"unit": "tags"})] = 10_000
    max_subscriptions: Annotated[
        int,
        Meta(
            ge=1,
            description="Most open subscriptions and running counts of one connection.",
            extra={"unit": "subscriptions"},
        ),
    ] = 300
    max_filters: Annotated[
        int, Meta(ge=1, description="Most filters in one REQ or COUNT.", extra={"unit": "filters"})
    ] = 20
    max_filter_values: Annotated[
        int,
        Meta(
            ge=1,
            description=(
                "Most ids, authors, kinds, tag values and words in the filters that one connection has open; a filter"
                " counts five more, each of its lists of tag values one more, a text one for each 128 bytes."
            ),
            extra={"unit": "values"},
        ),
    ] = 25_000
    max_filter_values_per_address: Annotated[
        int,
        Meta(
            ge=0,
            description=(
                "The same for all connections of one IPv4 address or one IPv6 /64 network together; 0: no limit."
            ),
            extra={"unit": "values"},
        ),
    ] = 50_000
    max_filter_values_of_all: Annotated[
        int,
        Meta(
            ge=1,
            description="The same for all clients together; each value takes up to 350 bytes of memory.",
            extra={"unit": "values"},
        ),
    ] = 1_000_000
    max_limit: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Most stored events that one filter gets; a larger limit is reduced to it.",
            extra={"unit": "events"},
        ),
    ] = 5_000
    default_limit: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description=(
                "Most stored events for a filter without a limit of its own; one that asks for ids or addresses gets"
                " all of them, up to max_limit."
            ),
            extra={"unit": "events"},
        ),
    ] = 500
    created_at_ahead: Annotated[
        int,
        Meta(
            ge=0,
            description="How far created_at may be in the future.",
            extra={"unit": "seconds"},
        ),
    ] = 900
    created_at_behind: Annotated[
        int,
        Meta(
            ge=0,
            description=(
                "How far created_at may be in the past; gift wraps get at least two days and an hour; 0: any time."
            ),
            extra={"unit": "seconds"},
        ),
    ] = 0
    max_tag_value_length: Annotated[
        int, Meta(ge=0, description="Longest item of a tag.", extra={"unit": "characters"})
    ] = 65_536
