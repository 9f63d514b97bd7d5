"""Settings of the table `bus`: where Redis is, and what it is to keep."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_URL = r"^(rediss?://[^\s/?#]+(/[0-9]*)?|unix://[^\s?#]*/[^\s?#]+(\?db=[0-9]+)?)?$"


class BusOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How relays that share an OpenSearch prefix tell each other at once what is new."""

    url: Annotated[
        str,
        Meta(
            pattern=_URL,
            description=(
                "Redis 6.2 or newer, or Valkey: redis://user:password@host:port/database, rediss:// with TLS, or"
                " unix:///path?db=0; what is special in a password is written as %xx. Empty: no bus. Needs"
                ' store.backend = "opensearch", and coredis, which the extra `bus` of this package installs.'
            ),
        ),
    ] = ""
    ca_file: Annotated[
        str, Meta(description="PEM file of the certificates that a rediss server is checked with; empty: the system's.")
    ] = ""
    max_entries: Annotated[
        int,
        Meta(
            ge=1_000,
            description=(
                "What the stream in Redis may hold, about; a relay that was away for longer than this reaches back"
                " looks into the index. Under load an entry has many events."
            ),
            extra={"unit": "entries"},
        ),
    ] = 100_000
    max_bytes: Annotated[
        int,
        Meta(ge=16_777_216, description="What the stream in Redis may hold, about.", extra={"unit": "bytes"}),
    ] = 268_435_456
    waiting_bytes: Annotated[
        int,
        Meta(
            ge=4_194_304,
            description="What waits in the relay while Redis is away; beyond it the other relays look into the index.",
            extra={"unit": "bytes"},
        ),
    ] = 16_777_216
