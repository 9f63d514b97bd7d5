"""Pages of a store, each of which may take so long and no longer."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

import trio

P = TypeVar("P")


async def paged(pages: AsyncGenerator[P, None], seconds: float) -> AsyncGenerator[P, None]:
    """The same pages without the empty ones; to be closed as they are, which closes them.

    Args:
        pages: of a store, not begun.
        seconds: what each step to the next page may take, the waiting for a free reader included; what is done with a
            page does not count.

    Raises:
        trio.TooSlowError: a step took longer.
        StoreError: the store failed.
    """
    async with aclosing(pages):
        while True:
            with trio.fail_after(seconds):
                page = await anext(pages, None)
            if page is None:
                return
            if page:
                yield page
