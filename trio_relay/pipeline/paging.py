"""Pages of a store, each of which has a turn, and may take so long and no longer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import TypeVar

from trio_relay.pipeline.query_turns import QueryTurns
from trio_relay.policy.identity import Identity

P = TypeVar("P")


async def paged(
    ask: Callable[[], AsyncGenerator[P, None]], turns: QueryTurns, who: Identity | None
) -> AsyncGenerator[P, None]:
    """The same pages without the empty ones; to be closed as they are, which closes them.

    Args:
        ask: gives the pages of a store; called again if the first step has had to yield.
        turns: has one for each step to the next page; what is done with a page takes none.
        who: is charged for the steps.

    Raises:
        trio.TooSlowError: a step took too long.
        NoTurn: a step got no turn.
        StoreError: the store failed.
    """
    pages = ask()

    async def begin() -> P | None:
        nonlocal pages
        await pages.aclose()  # it may have been begun before
        pages = ask()
        return await anext(pages, None)

    try:
        page = await turns.run(who, begin, may_yield=True)
        while page is not None:
            if page:
                yield page
            page = await turns.run(who, partial(anext, pages, None))
    finally:
        await pages.aclose()
