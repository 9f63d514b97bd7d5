"""Pages, each under a deadline."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest
import trio
from trio.testing import MockClock

from tests.support.pipeline import turns_of
from trio_relay.pipeline.paging import Pager


async def pages(*steps: tuple[float, list[int]], closed: list[str] | None = None) -> AsyncGenerator[list[int], None]:
    """Pages, each after so many seconds."""
    try:
        for seconds, page in steps:
            await trio.sleep(seconds)
            yield page
    finally:
        if closed is not None:
            closed.append("closed")


async def test_each_page_comes_in_its_order_and_empty_ones_are_left_out(autojump_clock: MockClock) -> None:
    async with aclosing(Pager(lambda: pages((1, [1]), (1, []), (1, [2, 3])), turns_of(1.5), None)) as found:
        assert [await found.next_page() for _ in range(3)] == [[1], [2, 3], None]


async def test_a_step_that_takes_too_long_ends_all(autojump_clock: MockClock) -> None:
    closed: list[str] = []
    async with aclosing(Pager(lambda: pages((1, [1]), (9, [2]), closed=closed), turns_of(2), None)) as found:
        assert await found.next_page() == [1]
        with pytest.raises(trio.TooSlowError):
            await found.next_page()
    assert (closed, trio.current_time()) == (["closed"], 3)


async def test_what_is_done_with_a_page_takes_no_time_of_the_next(autojump_clock: MockClock) -> None:
    async with aclosing(Pager(lambda: pages((1, [1]), (1, [2])), turns_of(2), None)) as found:
        for number in (1, 2):
            assert await found.next_page() == [number]
            await trio.sleep(60)
        assert await found.next_page() is None
    assert trio.current_time() == 122


async def test_closing_it_closes_the_pages() -> None:
    closed: list[str] = []
    async with aclosing(Pager(lambda: pages((0, [1]), (0, [2]), closed=closed), turns_of(2), None)) as found:
        assert await found.next_page() == [1]
    assert closed == ["closed"]
