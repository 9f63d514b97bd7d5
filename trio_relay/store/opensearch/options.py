"""Settings of the table `opensearch`: where it is, credentials, layout and deadlines."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class OpenSearchOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the OpenSearch store is reached and laid out; used only if `store.backend` is "opensearch"."""

    urls: Annotated[
        tuple[Annotated[str, Meta(pattern="^https?://[^/?#@]+/?$")], ...],
        Meta(
            min_length=1,
            description="Nodes of the cluster; if one cannot be reached, the next one is asked.",
            extra={"unit": "URLs"},
        ),
    ] = ("http://127.0.0.1:9200",)
    username: Annotated[str, Meta(description="For basic authentication; empty for none.")] = ""
    password: Annotated[str, Meta(description="For basic authentication; best set by its variable.")] = ""
    api_key: Annotated[str, Meta(description="Sent as `Authorization: ApiKey …`; empty for none.")] = ""
    ca_file: Annotated[
        str,
        Meta(
            description="PEM file of the certificates that https nodes are checked with; empty: the system's.",
            extra={"unit": "path"},
        ),
    ] = ""
    prefix: Annotated[
        str,
        Meta(
            pattern="^[a-z][a-z0-9_-]{0,63}$",
            description=(
                "Start of the names of alias, indices and template; relays with the same prefix share their events."
            ),
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
            description=(
                "Copies of each shard of an index that `trio-relay migrate` makes; 1 or more if there is more than one"
                " node."
            ),
            extra={"unit": "copies"},
        ),
    ] = 0
    durability: Annotated[
        Literal["request", "async"],
        Meta(
            description=(
                "Of an index that `trio-relay migrate` makes. request: OK true is sent after the event is on the disks"
                " of all copies. async: a crash of nodes may lose the last five seconds."
            )
        ),
    ] = "request"
    refresh_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description=(
                "How often new events are made searchable; until then this relay answers from memory. Events of other"
                " relays appear after their refresh."
            ),
            extra={"unit": "seconds"},
        ),
    ] = 2.0
    recent_events: Annotated[
        int,
        Meta(
            ge=1,
            description="This many events waiting for a refresh start it at once; twice as many make writing wait.",
            extra={"unit": "events"},
        ),
    ] = 20_000
    writers: Annotated[
        int,
        Meta(ge=1, le=32, description="Most `_bulk` requests at a time.", extra={"unit": "requests"}),
    ] = 2
    readers: Annotated[
        int,
        Meta(
            ge=1,
            le=256,
            description=(
                "Most requests at a time for what clients ask. One address or key has half of them at most, and a"
                " quarter is kept for those that have used little of late."
            ),
            extra={"unit": "requests"},
        ),
    ] = 32
    bulk_bytes: Annotated[
        int,
        Meta(
            ge=65_536,
            le=104_857_600,
            description=(
                "Longest `_bulk` request; a larger batch is split. All `writers` together use a twentieth of the"
                " smallest node's heap at most: nodes refuse more than a tenth."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 8_388_608
    gzip: Annotated[
        bool, Meta(description="Compress requests: useful for nodes behind a slow network, not on this machine.")
    ] = False
    request_seconds: Annotated[
        float, Meta(gt=0, description="Longest time for one request.", extra={"unit": "seconds"})
    ] = 30.0
    retry_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=60,
            description="How long a batch is retried, while clients wait, before they get `error:`.",
            extra={"unit": "seconds"},
        ),
    ] = 10.0
