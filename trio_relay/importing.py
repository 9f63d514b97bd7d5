"""A whole relay into its store: what its operators have decided, and then its events.

In this order: what has been banned since the events were written is banned by then, and does not come back with them.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from time import time
from typing import Final

import msgspec
import trio

from trio_relay import configured
from trio_relay.config import Config
from trio_relay.moderation.state import restore
from trio_relay.pipeline.opening import open_relay
from trio_relay.pipeline.options import RelayOptions
from trio_relay.plugins.hook_modules import judging
from trio_relay.plugins.options import PluginOptions
from trio_relay.resuming import AnsweredLines, Bookmark, place_to_resume
from trio_relay.sources import Line
from trio_relay.state_file import Decisions, StateRefused, changes_between, kept_in, lost
from trio_relay.store.base import Metadata
from trio_relay.transfer import ImportSummary, import_lines

_VERIFY_BATCH: Final = 2_048
_WRITE_BATCH: Final = 8_192
"""In a SQLite store an event costs a fifth less CPU than by 256 and 1,000, in 60,000 events of 600 bytes: a commit
writes each page of the indexes once. Twice as many gain little, and batches are bounded in bytes as well."""


async def bring_in(
    config: Config,
    state: Decisions | None,
    lines: Iterable[Line] | None,
    summary: ImportSummary,
    *,
    is_backup: bool,
    replaces: bool,
    bookmark: Bookmark | None = None,
    resumes: bool = False,
) -> None:
    """Put a state into the store, then events; each may be left out.

    Args:
        config: names the store.
        state: takes the place of what the store has.
        lines: see `transfer.import_lines`.
        summary: filled as events are stored.
        is_backup: see `transfer.import_lines`.
        replaces: False: refuse the state where the store has entries or a key of its own that would be lost.
        bookmark: remembers how far this has come until it is done; None: nothing does.
        resumes: True: go on where the bookmark says, if it says anything.

    Raises:
        StateRefused: something would be lost; nothing is changed.
        ResumeRefused: the bookmark is about something else.
        StoreError: the state could not be stored; see `moderation.state.restore`.
    """
    remembered = bookmark.recall() if bookmark is not None and resumes else None
    async with configured.open_store(config) as store:
        if remembered is not None:
            summary.passed_over = await place_to_resume(remembered, store)
        if state is not None:
            await _put(store, state, replaces=replaces)
        if lines is None:
            return
        answered = AnsweredLines(summary.passed_over)
        async with _noted(bookmark, answered, summary):
            rules = configured.rules_of(_silent(config) if is_backup else config)
            async with (
                judging(PluginOptions() if is_backup else config.plugins, store) as judges,
                open_relay(store, _unhurried(config), rules=rules, judges=judges) as relay,
            ):
                await import_lines(relay, lines, summary, is_backup=is_backup, answered=answered)


@asynccontextmanager
async def _noted(bookmark: Bookmark | None, answered: AnsweredLines, summary: ImportSummary) -> AsyncIterator[None]:
    """Have it noted how far an import is, until it has been answered whole."""
    if bookmark is None:
        yield
        return
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bookmark.keep, answered)
            yield
            nursery.cancel_scope.cancel()
    except BaseException:
        bookmark.note(answered)
        raise
    if summary.store_failed or summary.broken is not None:
        bookmark.note(answered)
    else:
        bookmark.forget()


def _unhurried(config: Config) -> RelayOptions:
    """Return how the pipeline works where no client waits: in larger batches, and until everything is stored."""
    options = msgspec.structs.replace(config.pipeline, drain_seconds=math.inf)
    if config.store.backend != "sqlite":
        return options
    return msgspec.structs.replace(
        options,
        verify_batch=max(options.verify_batch, _VERIFY_BATCH),
        write_batch=max(options.write_batch, _WRITE_BATCH),
    )


def _silent(config: Config) -> Config:
    """Return the same without membership: else the relay would publish its members anew before it has those it knew."""
    return msgspec.structs.replace(config, members=msgspec.structs.replace(config.members, enabled=False))


async def _put(store: Metadata, state: Decisions, *, replaces: bool) -> None:
    there = kept_in(await store.get_metadata())
    if not replaces and (words := lost(there, state)):
        raise StateRefused(f"the store has a state of its own that would be lost: {words} (--replace)")
    await restore(store, changes_between(there, state, int(time())), state.secret)
