"""Where OpenSearch is, who the relay is to it, and how patient it is with it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class OpenSearchOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the OpenSearch store is reached and laid out; of no effect unless `store.backend` is "opensearch"."""

    urls: Annotated[
        tuple[Annotated[str, Meta(pattern="^https?://[^/?#@]+/?$")], ...],
        Meta(
            min_length=1,
            description="Nodes of the cluster; the next one is asked where one can't be reached.",
            extra={"unit": "URLs"},
        ),
    ] = ("http://127.0.0.1:9200",)
    username: Annotated[str, Meta(description="For basic authentication; empty for none.")] = ""
    password: Annotated[str, Meta(description="For basic authentication; best set by its variable.")] = ""
    api_key: Annotated[str, Meta(description="Sent as `Authorization: ApiKey …`; empty for none.")] = ""
    ca_file: Annotated[
        str,
        Meta(
            description="Certificates, PEM, that https nodes are checked by; empty for the system's.",
            extra={"unit": "path"},
        ),
    ] = ""
    prefix: Annotated[
        str,
        Meta(
            pattern="^[a-z][a-z0-9_-]{0,63}$",
            description="What the names of alias, indices and template start with; relays that share it share events.",
        ),
    ] = "nostr"
    shards: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Primary shards of an index that `trio-relay migrate` makes.",
            extra={"unit": "shards"},
        ),
    ] = 1
    replicas: Annotated[
        int,
        Meta(
            ge=0,
            description="Copies of each shard beside it; 1 or more where there is more than one node.",
            extra={"unit": "copies"},
        ),
    ] = 0
    durability: Annotated[
        Literal["request", "async"],
        Meta(
            description=(
                "request: OK true is said after the event is on the disks of all copies. async: a crash of nodes may"
                " take the last five seconds with it."
            )
        ),
    ] = "request"
    refresh_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description=(
                "How often what is new is made searchable; until then this relay remembers it. Others' events appear"
                " after their refresh."
            ),
            extra={"unit": "seconds"},
        ),
    ] = 2.0
    recent_events: Annotated[
        int,
        Meta(
            ge=1,
            description="So many events waiting for a refresh make it come at once; twice as many make writing wait.",
            extra={"unit": "events"},
        ),
    ] = 20_000
    writers: Annotated[
        int,
        Meta(ge=1, le=32, description="`_bulk` requests that are under way at a time.", extra={"unit": "requests"}),
    ] = 2
    bulk_bytes: Annotated[
        int,
        Meta(ge=65_536, description="Longest `_bulk`; a larger batch becomes several.", extra={"unit": "bytes"}),
    ] = 8_388_608
    gzip: Annotated[
        bool, Meta(description="Compress what is sent: for nodes behind a slow network, not for this machine's.")
    ] = False
    request_seconds: Annotated[
        float, Meta(gt=0, description="What one request may take.", extra={"unit": "seconds"})
    ] = 30.0
    retry_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="How long a batch is tried again, while clients wait, before they are told `error:`.",
            extra={"unit": "seconds"},
        ),
    ] = 10.0
