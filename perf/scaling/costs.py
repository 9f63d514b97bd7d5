"""What one operation takes: the measured numbers that everything else here is computed from.

Each says where it comes from: *measured* by a scenario of perf/README.md or by a file beside this one, on two
shared cores; *arithmetic* follows from a protocol or a format; a *guess* is neither, and is to be replaced first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What one shape of REQ takes, in seconds of CPU.

    Attributes:
        share: of all requests; those of `mixed` in perf/requests.py.
        sqlite: the relay's, over SQLite.
        relay: the relay's, over OpenSearch.
        once: the cluster's, however many shards are asked.
        shard: the cluster's, for each shard that is asked.
        events: in the answer.
    """

    share: float
    sqlite: float
    relay: float
    once: float
    shard: float
    events: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds of CPU, unless it says otherwise.

    Attributes:
        requests: by shape.
        waking: the worker's for going back to work after it had nothing to do.
        read: the worker's for a new event: read, parsed, judged, answered.
        verify: for a signature, in whichever thread.
        sqlite_commit: for a commit, however much it holds.
        sqlite_event: for an event in it.
        fdatasync: seconds that a commit waits for the disk.
        relay_event: the relay's for a document: made, sent, its answer read.
        linger: seconds that a batch waits for company (`pipeline.write_linger_seconds`).
        bulk_once: the cluster's for a `_bulk`, however much it holds.
        bulk_shard: a node's for its part of a `_bulk`, however much it holds.
        document: a node's for a document on one shard, making segments and merging included.
        node_sync: seconds that a shard waits for its disk (`durability = "request"`).
        note_added: the bus's for a note.
        note_given: the bus's for each relay that reads it.
        note: a worker's for each event that others have stored: decoded, and compared with what is open.
        delivery: a worker's for each subscriber that gets an event.
        hop: seconds from one machine of a room to another, with the systems' own work.
        event_bytes: of an event as JSON.
        stored_sqlite: bytes on disk of an event.
        stored_cluster: bytes on disk of an event in one copy.
        note_bytes: bytes of the bus's memory for a note.
        connection: for opening a connection with one subscription.
        connection_bytes: of the relay's memory.
        socket_bytes: of the system's memory, for a connection that is idle.
    """

    requests: Mapping[str, Request] = field(default_factory=lambda: REQUESTS)
    waking: float = 80e-6
    read: float = 49e-6
    verify: float = 48e-6
    sqlite_commit: float = 290e-6
    sqlite_event: float = 28e-6
    fdatasync: float = 250e-6
    relay_event: float = 56e-6
    linger: float = 2e-3
    bulk_once: float = 1.3e-3
    bulk_shard: float = 650e-6
    document: float = 90e-6
    node_sync: float = 300e-6
    note_added: float = 2.5e-6
    note_given: float = 0.95e-6
    note: float = 20e-6
    delivery: float = 1.3e-6
    hop: float = 100e-6
    event_bytes: float = 627
    stored_sqlite: float = 1_095
    stored_cluster: float = 1_017
    note_bytes: float = 692
    connection: float = 534e-6
    connection_bytes: float = 14_100
    socket_bytes: float = 5_000


REQUESTS: Final[Mapping[str, Request]] = MappingProxyType(
    {
        "id": Request(share=0.50, sqlite=127e-6, relay=1.75e-3, once=0.70e-3, shard=0.04e-3, events=1),
        "author-kind": Request(share=0.20, sqlite=161e-6, relay=2.1e-3, once=1.5e-3, shard=0.1e-3, events=20),
        "thread": Request(share=0.20, sqlite=156e-6, relay=2.05e-3, once=0.9e-3, shard=0.1e-3, events=20),
        "authors": Request(share=0.08, sqlite=680e-6, relay=4.3e-3, once=5.3e-3, shard=0.4e-3, events=100),
        "latest": Request(share=0.02, sqlite=707e-6, relay=10.5e-3, once=19e-3, shard=1.9e-3, events=500),
    }
)
MEASURED: Final = Costs()
"""Those of this program on OpenSearch 2.19.1, in front of which the plans of docs/scaling.md are made."""
