"""How all of the pipeline is, as one frozen record."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from trio_relay.nostr.schnorr import BackendName
from trio_relay.pipeline.broadcaster import BroadcasterStatistics
from trio_relay.pipeline.queries import QueriesStatistics
from trio_relay.pipeline.sync_sets import SyncStatistics
from trio_relay.pipeline.verifier import VerifierStatistics
from trio_relay.pipeline.writer import WriterStatistics
from trio_relay.store.base import StoreStatistics


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """How full a channel is, in batches: now, at most so far, and its capacity."""

    depth: int
    peak: int
    capacity: float


@dataclass(frozen=True, slots=True)
class RelayStatistics:
    """How all stages are."""

    signatures: BackendName
    verifiers: int
    refused: dict[str, int]
    unreadable: int
    channels: dict[str, ChannelStatistics]
    verifier: VerifierStatistics
    writer: WriterStatistics
    broadcaster: BroadcasterStatistics
    queries: QueriesStatistics
    syncing: SyncStatistics
    store: StoreStatistics


def channel_statistics(now: trio.MemoryChannelStatistics) -> ChannelStatistics:
    """What a channel tells of itself."""
    return ChannelStatistics(now.current_buffer_used, now.peak_buffer_used, now.max_buffer_size)
