"""What is banned goes from the store: at once, or, where a stop or a failure came between, in the background."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import structlog
import trio

from trio_relay.nostr.filter import Filter
from trio_relay.policy.lists import Change, ListName
from trio_relay.policy.removals import due, owed_after, settled
from trio_relay.policy.rules import Rules
from trio_relay.store.base import StoreError

log = structlog.get_logger("trio_relay.pipeline")

_RETRY_SECONDS: Final = 10.0

Remove: TypeAlias = Callable[[Sequence[Filter]], Awaitable[int]]
Amend: TypeAlias = Callable[[Sequence[Change]], Awaitable[None]]


@dataclass(slots=True, eq=False)
class _Work:
    removed: int = 0
    error: str | None = "the relay stops"
    done: trio.Event = field(default_factory=trio.Event)


class Removals:
    """Removes what was banned until nothing of it is owed.

    Args:
        rules: have what is owed among their lists.
        remove: removes stored events.
        amend: changes the lists.
        clock: seconds since 1970.
    """

    def __init__(self, rules: Rules, remove: Remove, amend: Amend, clock: Callable[[], float]) -> None:
        self._rules = rules
        self._remove = remove
        self._amend = amend
        self._clock = clock
        self._owing = trio.Event()
        self._nursery: trio.Nursery | None = None

    def start(self, nursery: trio.Nursery) -> None:
        """Begin, with what is owed since the last time; cancelling the nursery ends it."""
        self._nursery = nursery
        if self._rules.lists.holds_any(ListName.REMOVALS):
            self._owing.set()
        nursery.start_soon(self._run)

    def learnt(self, changes: Sequence[Change]) -> None:
        """Bans of another relay's operators are among these: what came here meanwhile goes, too; sync."""
        if owed := owed_after(changes, int(self._clock())):
            self._rules.amend(owed)  # not kept: nobody else owes it
        if self._rules.lists.holds_any(ListName.REMOVALS):
            self._owing.set()

    async def carry_out(self, filters: Sequence[Filter]) -> int:
        """Remove what is owed and matches these filters; gives how many events that were.

        Once begun it goes on, whether or not the caller still waits.

        Raises:
            StoreError: it failed, and is tried again later.
        """
        assert self._nursery is not None, "who has a relay has started it"
        work = _Work()
        self._nursery.start_soon(self._work, filters, work)
        await work.done.wait()
        if work.error is not None:
            raise StoreError(work.error)
        return work.removed

    async def _work(self, filters: Sequence[Filter], work: _Work) -> None:
        try:
            work.removed = await self._remove(filters)
            work.error = None
            await self._amend(settled(filters))
        except StoreError as error:
            self._owing.set()
            if work.error is None:
                log.warning("a removal is done and may be done again", error=str(error))
            else:
                work.error = str(error)
        finally:
            work.done.set()

    async def _run(self) -> None:
        while True:
            await self._owing.wait()
            self._owing = trio.Event()
            try:
                await self._settle()
            except StoreError as error:
                log.warning("not all that is banned is removed", error=str(error))
                await trio.sleep(_RETRY_SECONDS)
                self._owing.set()

    async def _settle(self) -> None:
        removed = 0
        for one in due(self._rules.lists, int(self._clock())):
            if one.filters:
                removed += await self._remove(one.filters)
            await self._amend(one.settling)
        if removed:
            log.info("removed what is banned", events=removed)
