"""Members of one keeper in one process: their links are streams in memory, their file and their scoreboard are real."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from tempfile import TemporaryDirectory
from typing import TypeVar

import trio
import trio.testing

from trio_relay import SqliteOptions, open_sqlite
from trio_relay.link import Link
from trio_relay.scoreboard import Scoreboard
from trio_relay.store import kept

T = TypeVar("T")


@asynccontextmanager
async def open_members(number: int, most: int = 1_000) -> AsyncIterator[list[kept.KeptStore]]:
    """So many stores that one keeper keeps, in a folder of their own."""
    with TemporaryDirectory() as folder, Scoreboard.create(number, 100) as scoreboard:
        options = SqliteOptions(path=f"{folder}/relay.db", synchronous="normal", readers=2)
        async with (
            open_sqlite(options, scoreboard=scoreboard) as store,
            trio.open_nursery() as keeping,
            AsyncExitStack() as members,
        ):
            keeper = kept.Keeper(store, most)
            keeping.start_soon(keeper.run)
            yield [
                await members.enter_async_context(joined(keeper, options, scoreboard, place, number))
                for place in range(number)
            ]
            await members.aclose()
            keeping.cancel_scope.cancel()


@asynccontextmanager
async def joined(
    keeper: kept.Keeper, options: SqliteOptions, scoreboard: Scoreboard, place: int, number: int
) -> AsyncIterator[kept.KeptStore]:
    """One more member of a keeper."""
    near, far = map(Link, trio.testing.memory_stream_pair())
    with Scoreboard.open(os.dup(scoreboard.fd), place, number) as shared:
        async with kept.open_kept(options, near, shared) as store, trio.open_nursery() as nursery:
            member = keeper.join(far)
            store.begin(member.newest)
            nursery.start_soon(near.run, store.tells)
            nursery.start_soon(far.run, member.tells, member.calls)
            yield store
            member.leave()
            nursery.cancel_scope.cancel()
