"""Settings of the table `pipeline`: sizes of batches and channels, and deadlines."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class RelayOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much the pipeline does at a time, and how long it waits."""

    signatures: Annotated[
        Literal["auto", "batch", "coincurve", "python"],
        Meta(
            description=(
                "How signatures are verified: batch: one native call a batch; coincurve: one by one; python: about 75"
                " ms each; auto: the first of these that works."
            )
        ),
    ] = "auto"
    verifiers: Annotated[
        int,
        Meta(
            ge=0,
            le=256,
            description="Threads that verify signatures; 0: one for each core.",
            extra={"unit": "threads"},
        ),
    ] = 0
    workers: Annotated[
        int,
        Meta(
            ge=0,
            le=256,
            description=(
                "Processes that serve clients, with one more that keeps the file of a SQLite store for them; 1: one"
                " process does all; 0: one for each core."
            ),
            extra={"unit": "processes"},
        ),
    ] = 1
    verify_batch: Annotated[
        int, Meta(ge=1, description="Most signatures in one native call.", extra={"unit": "events"})
    ] = 256
    write_batch: Annotated[int, Meta(ge=1, description="Most events in one commit.", extra={"unit": "events"})] = 1_000
    write_linger_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="How long a batch waits for more events before it is written, unless it is full.",
            extra={"unit": "seconds"},
        ),
    ] = 0.0
    channel_parcels: Annotated[
        int,
        Meta(
            ge=0,
            description="Most batches that wait to be verified; a batch is what one read from one client brought.",
            extra={"unit": "batches"},
        ),
    ] = 64
    query_seconds: Annotated[
        float,
        Meta(
            gt=0, description="Longest time for each page of a stored query, or for a count.", extra={"unit": "seconds"}
        ),
    ] = 10.0
    query_wait_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description=(
                "How long a page of a stored query, or a count, waits for its turn at most, which does not count as its"
                " own time."
            ),
            extra={"unit": "seconds"},
        ),
    ] = 30.0
    mute_unheard: Annotated[
        bool,
        Meta(
            description=(
                "Tell the sender of an ephemeral event that no subscription of the moment got it: OK true with mute:."
                " It tells, too, whether somebody listens for private ones."
            )
        ),
    ] = False
    drain_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description=(
                "When stopping: time for the pipeline to store what was accepted, after all clients have disconnected."
            ),
            extra={"unit": "seconds"},
        ),
    ] = 10.0
