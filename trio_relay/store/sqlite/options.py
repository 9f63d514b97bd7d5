"""Where and how the SQLite store keeps events: its part of the configuration."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class SqliteOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how the SQLite store keeps events."""

    path: Annotated[
        str,
        Meta(
            min_length=1,
            description="The database file; its folder is made if need be.",
            extra={"unit": "path"},
        ),
    ] = "data/relay.db"
    synchronous: Annotated[
        Literal["full", "normal"],
        Meta(
            description=(
                "full: OK true is said after the batch has reached the disk. normal: a power cut may take the last"
                " moments with it, a killed process may not."
            )
        ),
    ] = "full"
    readers: Annotated[
        int,
        Meta(ge=1, le=64, description="Queries that read at the same time.", extra={"unit": "connections"}),
    ] = 4
    cache_bytes: Annotated[
        int, Meta(ge=2**20, description="Page cache of each connection.", extra={"unit": "bytes"})
    ] = 67_108_864
    search: Annotated[
        bool,
        Meta(
            description=(
                "Keep an index of words; off, a filter with `search` is refused. Switched on again, the words of the"
                " events that came meanwhile are put into it at the next start."
            )
        ),
    ] = True
