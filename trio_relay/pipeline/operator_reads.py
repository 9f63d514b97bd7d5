"""What operators read of the store: past the gate, in turns that are charged to nobody, and in bounded time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Final, Protocol, TypeVar

import trio

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.pipeline.query_turns import QueryTurns
from trio_relay.store.archive import Archive, Archived
from trio_relay.store.base import Page, Queryable, StoreError

MOST_READ_BYTES: Final = 2**21
"""Of events that are read for one question; the rest is left out."""

T = TypeVar("T")


class OperatedStore(Queryable, Archive, Protocol):
    """The part of a store that operators read."""


class OperatorReads:
    """Reads for those who manage the relay, which is to be seen to before it is asked.

    Args:
        store: that is read.
        turns: of all that asks it.
    """

    def __init__(self, store: OperatedStore, turns: QueryTurns) -> None:
        self._store = store
        self._turns = turns

    async def events(self, filters: Sequence[Filter]) -> Page:
        """The stored events that match any of the filters, as JSON; those beyond `MOST_READ_BYTES` are left out.

        Args:
            filters: each with a limit, and those few: the whole answer is held.

        Raises:
            Rejected: it took too long, got no turn, or the store could not tell.
        """
        return await self._in_turn(partial(self._read, filters))

    async def _read(self, filters: Sequence[Filter]) -> Page:
        found: Page = []
        room = MOST_READ_BYTES
        async with aclosing(self._store.query(filters)) as pages:
            async for page in pages:
                for event in page:
                    if (room := room - len(event)) < 0:
                        return found
                    found.append(event)
        return found

    async def archived(self, filter_: Filter) -> list[Archived]:
        """What has gone and matches the filter, what went last first, `MOST_READ_BYTES` of events at most.

        Args:
            filter_: with a limit, and that small: the whole answer is held.

        Raises:
            Rejected: as `events` does.
        """
        return await self._in_turn(partial(self._read_archive, filter_))

    async def _read_archive(self, filter_: Filter) -> list[Archived]:
        found: list[Archived] = []
        room = MOST_READ_BYTES
        async with aclosing(self._store.archived(filter_)) as pages:
            async for page in pages:
                for one in page:
                    if (room := room - len(one.event)) < 0:
                        return found
                    found.append(one)
        return found

    async def count(self, filter_: Filter) -> int:
        """How many stored events match the filter; raises as `events` does."""
        return await self._in_turn(partial(self._store.count, [filter_]))

    async def _in_turn(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            return await self._turns.run(None, work)
        except trio.TooSlowError:
            raise Rejected(Prefix.ERROR, "the store takes too long") from None
        except StoreError as error:
            raise Rejected(Prefix.ERROR, str(error)) from error
