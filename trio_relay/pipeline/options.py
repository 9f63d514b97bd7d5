"""How wide the pipeline is, and how long its parts have patience."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class RelayOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How wide the pipeline is."""

    signatures: Annotated[
        Literal["auto", "batch", "coincurve", "python"],
        Meta(
            description=(
                "How signatures are verified: one native call a batch, coincurve one by one, pure Python (some 75 ms"
                " each), or the first of these that works."
            )
        ),
    ] = "auto"
    verifiers: Annotated[
        int,
        Meta(
            ge=0,
            le=256,
            description="Threads that verify; 0 is one for each core.",
            extra={"unit": "threads"},
        ),
    ] = 0
    verify_batch: Annotated[
        int, Meta(ge=1, description="Most signatures of one native call.", extra={"unit": "events"})
    ] = 256
    write_batch: Annotated[int, Meta(ge=1, description="Most events of one commit.", extra={"unit": "events"})] = 1_000
    write_linger_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=10,
            description="How long a batch waits for company before it is written, unless it is full.",
            extra={"unit": "seconds"},
        ),
    ] = 0.0
    channel_parcels: Annotated[
        int,
        Meta(
            ge=0,
            description="What may wait to be verified; a batch is what one read of one client brought.",
            extra={"unit": "batches"},
        ),
    ] = 64
    query_seconds: Annotated[
        float,
        Meta(gt=0, description="What each page of a stored query, or a count, may take.", extra={"unit": "seconds"}),
    ] = 10.0
    drain_seconds: Annotated[
        float,
        Meta(
            ge=0,
            description="When stopping: time for the pipeline to store what was accepted, once all clients left.",
            extra={"unit": "seconds"},
        ),
    ] = 10.0
