"""What of the machine each worker takes: what one process would take alone, divided (pure)."""

from __future__ import annotations

from msgspec.structs import replace

from trio_relay.config import Config
from trio_relay.pipeline.stages import cores


def workers_of(config: Config) -> int:
    """Return how many workers the configuration asks for, at least 1."""
    return config.pipeline.workers or cores()


def share_of(config: Config, workers: int) -> Config:
    """Return the options of one of so many workers: its part of threads, and of the memory that all may take.

    What is counted over all workers stays whole: connections, and the events in sets of syncs.
    """
    store, pipeline, net, limits = config.store, config.pipeline, config.net, config.limits
    return replace(
        config,
        store=replace(
            share_of_keeper(config, workers).store,
            readers=_part(store.readers, workers),
            event_cache_bytes=store.event_cache_bytes // workers,
        ),
        net=replace(net, inbound_bytes=net.inbound_bytes // workers, outbound_bytes=net.outbound_bytes // workers),
        limits=replace(limits, max_filter_values_of_all=_part(limits.max_filter_values_of_all, workers)),
        pipeline=replace(pipeline, verifiers=_part(pipeline.verifiers or cores(), workers)),
    )


def share_of_keeper(config: Config, workers: int) -> Config:
    """Return the options of the process that keeps the file for so many workers: it serves nobody, so it caches less.

    Pages of the file are divided evenly: it writes, and they read.
    """
    return replace(config, store=replace(config.store, cache_bytes=config.store.cache_bytes // (workers + 1)))


def _part(whole: int, workers: int) -> int:
    """Return a part of which all workers together have no less than the whole."""
    return max(1, -(-whole // workers))
