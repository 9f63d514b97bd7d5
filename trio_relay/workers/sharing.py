"""What of the machine each worker takes: what one process would take alone, divided (pure)."""

from __future__ import annotations

from msgspec.structs import replace

from trio_relay.config import Config
from trio_relay.pipeline.stages import cores


def workers_of(config: Config) -> int:
    """Return how many workers the configuration asks for, at least 1."""
    return config.pipeline.workers or cores()


def share_of(config: Config, workers: int) -> Config:
    """Return the options of one of so many workers: its part of threads and of memory for what is kept at hand."""
    store, pipeline = config.store, config.pipeline
    return replace(
        config,
        store=replace(
            store, readers=_part(store.readers, workers), event_cache_bytes=store.event_cache_bytes // workers
        ),
        pipeline=replace(pipeline, verifiers=_part(pipeline.verifiers or cores(), workers)),
    )


def _part(whole: int, workers: int) -> int:
    """Return a part of which all workers together have no less than the whole."""
    return max(1, -(-whole // workers))
