"""Pages of a store, each of which has a turn, and may take so long and no longer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Generic, TypeVar

import trio

from trio_relay.pipeline.query_turns import QueryTurns
from trio_relay.policy.identity import Identity

P = TypeVar("P")


class Pager(Generic[P]):
    """Turns the pages of one answer of a store, one step each; to be closed at last, which closes them.

    Args:
        ask: gives the pages; called again if the first step has had to yield.
        turns: has one for each step to the next page; what is done with a page takes none.
        who: is charged for the steps.
    """

    def __init__(self, ask: Callable[[], AsyncGenerator[P, None]], turns: QueryTurns, who: Identity | None) -> None:
        self._ask = ask
        self._turns = turns
        self._who = who
        self._pages: AsyncGenerator[P, None] | None = None
        self.seconds = 0.0
        """What all steps have taken so far, with what they waited for their turns."""

    async def next_page(self) -> P | None:
        """The next page that is not empty; None after the last one.

        Raises:
            trio.TooSlowError: a step took too long.
            NoTurn: a step got no turn.
            StoreError: the store failed.
        """
        began = trio.current_time()
        try:
            while True:
                if self._pages is None:
                    page = await self._turns.run(self._who, self._begin, may_yield=True)
                else:
                    page = await self._turns.run(self._who, partial(anext, self._pages, None))
                if page is None or page:
                    return page
        finally:
            self.seconds += trio.current_time() - began

    async def _begin(self) -> P | None:
        await self.aclose()  # it may have been begun before
        self._pages = self._ask()
        return await anext(self._pages, None)

    async def aclose(self) -> None:
        """Close the pages of the store; none are asked for any more."""
        if self._pages is not None:
            await self._pages.aclose()
