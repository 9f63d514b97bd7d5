"""Settings of the tables `pipeline` and `sync`: sizes of batches and channels, deadlines, and bounds of syncs."""

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


class SyncOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sync of sets of events (NIP-77)."""

    enabled: Annotated[bool, Meta(description="Answer NEG-OPEN; if off, it is refused and not advertised.")] = True
    max_events: Annotated[
        int, Meta(ge=1, description="Most events of one sync; larger sets are refused.", extra={"unit": "events"})
    ] = 1_000_000
    max_events_of_all: Annotated[
        int,
        Meta(
            ge=1,
            description=(
                "Most events in the sets of all syncs together, and so of one; each takes 40 bytes. The set of"
                " everything, which all may share, counts once."
            ),
            extra={"unit": "events"},
        ),
    ] = 2_900_000
    max_sessions: Annotated[
        int, Meta(ge=1, description="Most open syncs of one connection.", extra={"unit": "syncs"})
    ] = 4
    idle_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description="How long a client may be silent before the relay ends its sync.",
            extra={"unit": "seconds"},
        ),
    ] = 60.0
    frame_bytes: Annotated[
        int,
        Meta(
            ge=4_096,
            le=2**20,
            description=(
                "Longest message of a sync before it becomes hex, which doubles it; at most a quarter of an outbox."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 131_072

    @property
    def longest(self) -> int:
        """Bytes of a client's message that is read at all."""
        return 2 * self.frame_bytes

    @property
    def largest(self) -> int:
        """Events of the largest set of one sync."""
        return min(self.max_events, self.max_events_of_all)
