"""A whole relay into its store: what its operators have decided, and then its events.

In this order: what has been banned since the events were written is banned by then, and does not come back with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import time
from typing import BinaryIO

import msgspec

from trio_relay import app
from trio_relay.config import Config
from trio_relay.moderation.state import restore
from trio_relay.pipeline.opening import open_relay
from trio_relay.plugins.hook_modules import judging
from trio_relay.plugins.options import PluginOptions
from trio_relay.sources import read_lines
from trio_relay.state_file import Decisions, StateRefused, changes_between, kept_in, lost
from trio_relay.store.base import Metadata
from trio_relay.transfer import ImportSummary, import_lines


async def bring_in(
    config: Config,
    state: Decisions | None,
    events: BinaryIO | None,
    summary: ImportSummary,
    progress: Callable[[int], None],
    *,
    is_backup: bool,
    replaces: bool,
) -> None:
    """Put a state into the store, then events; each may be left out.

    Args:
        config: names the store.
        state: takes the place of what the store has.
        events: see `sources.lines.read_lines`.
        summary: filled as events are stored.
        progress: called with the bytes that were read of the events' file.
        is_backup: see `transfer.import_lines`.
        replaces: False: refuse the state where the store has entries or a key of its own that would be lost.

    Raises:
        StateRefused: something would be lost; nothing is changed.
        StoreError: the state could not be stored; see `moderation.state.restore`.
    """
    async with app.open_store(config) as store:
        if state is not None:
            await _put(store, state, replaces=replaces)
        if events is not None:
            # Until everything is stored, however long that takes.
            unhurried = msgspec.structs.replace(config.pipeline, drain_seconds=math.inf)
            rules = app.rules_of(_silent(config) if is_backup else config)
            async with (
                judging(PluginOptions() if is_backup else config.plugins, store) as judges,
                open_relay(store, unhurried, rules=rules, judges=judges) as relay,
            ):
                await import_lines(relay, read_lines(events, progress), summary, is_backup=is_backup)


def _silent(config: Config) -> Config:
    """Return the same without membership: else the relay would publish its members anew before it has those it knew."""
    return msgspec.structs.replace(config, members=msgspec.structs.replace(config.members, enabled=False))


async def _put(store: Metadata, state: Decisions, *, replaces: bool) -> None:
    there = kept_in(await store.get_metadata())
    if not replaces and (words := lost(there, state)):
        raise StateRefused(f"the store has a state of its own that would be lost: {words} (--replace)")
    await restore(store, changes_between(there, state, int(time())), state.secret)
