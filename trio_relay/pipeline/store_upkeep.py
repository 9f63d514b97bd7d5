"""What operators have done with the store itself, beside everything else: one thing at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import trio

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.pipeline.retention_rounds import RetentionRounds, RuleFindings
from trio_relay.store.base import CannotCompact, Store, StoreError
from trio_relay.store.inspection import Compacted, Fault, Verify

Remove: TypeAlias = Callable[[Sequence[Filter]], Awaitable[int]]
"""Removes stored events, and all that is on its way and matches by then; raises StoreError."""
_MOST_TOLD: Final = 1_000
"""Faults that are told: of a store where more is wrong these are enough to see what."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal has taken, or would take."""

    events: int
    kinds: dict[int, int]
    """Events by kind, as they were counted right before it."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found to be wrong with the store."""

    events: int
    """That were looked at."""
    number: int
    """Of all faults."""
    faults: tuple[str, ...]
    """The first thousand, each in a sentence."""


class StoreUpkeep:
    """Looks after a store for those who manage the relay, which is to be seen to before it is asked.

    Args:
        store: the relay's.
        remove: has the relay remove what it has stored.
        verify: tells whether signatures are right.
        retention: makes rounds.
    """

    def __init__(self, store: Store, remove: Remove, verify: Verify, retention: RetentionRounds) -> None:
        self._store = store
        self._remove = remove
        self._verify = verify
        self._retention = retention
        self._turn = trio.Lock()

    async def count(self, filters: Sequence[Filter]) -> int:
        """Count the stored events that match any of the filters, whoever may read them.

        Raises:
            Rejected: the store could not tell.
        """
        with _refusing():
            return await self._store.count(filters)

    async def remove(self, filters: Sequence[Filter], *, is_dry_run: bool) -> Removed:
        """Remove what matches any of the filters; nothing keeps it from being published again.

        Cancelling it ends it between two portions.

        Args:
            filters: what is to go; limits and readers play no part.
            is_dry_run: tell what would go, and remove nothing.

        Raises:
            Rejected: another such work goes on; or it failed, and a part may be gone.
        """
        async with self._alone():
            kinds = await self._store.kinds_of(filters)
            removed = 0 if is_dry_run else await self._remove(filters)
        return Removed(sum(kinds.values()) if is_dry_run else removed, kinds)

    async def check(self, *, signatures: bool) -> Checked:
        """Look for what is wrong with the store; it may take long, and cancelling ends it.

        Args:
            signatures: look at these, too.

        Raises:
            Rejected: another such work goes on, or the store could not tell.
        """
        events, number, faults = 0, 0, list[Fault]()
        async with self._alone(), aclosing(self._store.inspect(self._verify if signatures else None)) as portions:
            async for portion in portions:
                events += portion.events
                number += len(portion.faults)
                faults += portion.faults[: _MOST_TOLD - len(faults)]
        return Checked(events, number, tuple(map(str, faults)))

    async def compact(self) -> Compacted:
        """Have the store give back the room of what was removed; cancelling ends it between two portions.

        Raises:
            Rejected: another such work goes on, this store cannot while it is used, or it failed.
        """
        async with self._alone():
            return await self._store.compact()

    async def forget(self) -> list[RuleFindings]:
        """Make a round of retention now; gives what was forgotten, rule by rule.

        Cancelling it ends it between two portions; the next round goes on.

        Raises:
            Rejected: no rule lets anything go, other such work goes on; or it failed, and a part may be forgotten.
        """
        if not self._retention.forgets:
            raise Rejected(Prefix.UNSUPPORTED, "nothing is ever forgotten here: there are no rules of [[retention]]")
        async with self._alone():
            return await self._retention.make()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Do work that may take long, and of which one at a time is enough."""
        try:
            self._turn.acquire_nowait()
        except trio.WouldBlock:
            raise Rejected(Prefix.ERROR, "other work on the store goes on; try again when it is done") from None
        try:
            with _refusing():
                yield
        finally:
            self._turn.release()


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except CannotCompact as error:
        raise Rejected(Prefix.UNSUPPORTED, str(error)) from error
    except StoreError as error:
        raise Rejected(Prefix.ERROR, str(error)) from error
