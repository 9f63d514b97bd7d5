"""Batches: what waits in a channel goes on together, and nothing is left behind."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from trio_relay.pipeline.batches import BATCH_BYTES, Batches


def filled(parts: list[list[int]]) -> tuple[trio.MemorySendChannel[list[int]], trio.MemoryReceiveChannel[list[int]]]:
    """A channel in which these parts wait."""
    send, receive = trio.open_memory_channel[list[int]](len(parts))
    for part in parts:
        send.send_nowait(part)
    return send, receive


@pytest.mark.parametrize(
    ("parts", "most", "batches"),
    [
        ([[1]], 10, [[1]]),
        ([[1], [2, 3], [4]], 10, [[1, 2, 3, 4]]),
        ([[1], [2], [3]], 2, [[1, 2], [3]]),
        ([[1], [2, 3, 4], [5]], 2, [[1, 2, 3, 4], [5]]),
        ([[1, 2, 3], [4]], 1, [[1, 2, 3], [4]]),
        ([], 1, []),
    ],
)
async def test_a_batch_takes_what_waits_up_to_its_size(
    parts: list[list[int]], most: int, batches: list[list[int]]
) -> None:
    send, receive = filled(parts)
    send.close()
    assert [batch async for batch in Batches(receive, most)] == batches


async def test_a_lone_parcel_waits_for_no_company() -> None:
    send, receive = filled([[1]])
    with trio.fail_after(5):
        assert await anext(Batches(receive, 100)) == [1]
    send.close()


async def test_the_end_of_the_channel_inside_a_batch_loses_nothing() -> None:
    send, receive = filled([[1], [2]])
    batches = Batches(receive, 100)
    send.close()
    assert await anext(batches) == [1, 2]
    with pytest.raises(StopAsyncIteration):
        await anext(batches)


async def test_a_batch_is_the_readers_own_list() -> None:
    part = [1]
    send, receive = filled([part, [2]])
    assert await anext(Batches(receive, 100)) == [1, 2]
    assert part == [1]
    send.close()


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(), min_size=1, max_size=4), max_size=12), st.integers(1, 6))
async def test_every_item_comes_once_and_in_order(parts: list[list[int]], most: int) -> None:
    send, receive = filled(parts)
    send.close()
    batches = [batch async for batch in Batches(receive, most)]
    assert [item for batch in batches for item in batch] == [item for part in parts for item in part]
    widest = max(map(len, parts), default=0)
    assert all(len(batch) < most + widest for batch in batches)


async def test_a_batch_of_large_items_takes_no_further_part() -> None:
    send, receive = filled([[1], [2], [3]])
    send.close()
    sizes = {1: BATCH_BYTES - 1, 2: 1, 3: 1}
    assert [batch async for batch in Batches(receive, 100, lambda item: sizes[item])] == [[1, 2], [3]]


async def test_a_batch_lingers_for_company_from_its_first_parcel_on(autojump_clock: MockClock) -> None:
    send, receive = filled([[1]])
    batches = Batches(receive, 100, linger=2.0)

    async def company() -> None:
        for item in (2, 3, 4):
            await trio.sleep(0.9)
            await send.send([item])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(company)
        started = trio.current_time()
        assert await anext(batches) == [1, 2, 3]
        assert trio.current_time() - started == pytest.approx(2)
        assert await anext(batches) == [4]
        assert trio.current_time() - started == pytest.approx(4.7)
    send.close()


async def test_a_full_batch_does_not_linger(autojump_clock: MockClock) -> None:
    send, receive = filled([[1, 2], [3]])
    started = trio.current_time()
    assert await anext(Batches(receive, 2, linger=9)) == [1, 2]
    assert await anext(Batches(receive, 9, lambda _item: BATCH_BYTES, linger=9)) == [3]
    assert trio.current_time() == started
    send.close()


async def test_a_batch_that_becomes_full_lingers_no_longer(autojump_clock: MockClock) -> None:
    send, receive = filled([[1]])
    async with trio.open_nursery() as nursery:

        async def company() -> None:
            await trio.sleep(1)
            await send.send([2])

        nursery.start_soon(company)
        started = trio.current_time()
        assert await anext(Batches(receive, 2, linger=9)) == [1, 2]
        assert trio.current_time() - started == pytest.approx(1)
    send.close()


async def test_the_end_of_the_channel_ends_a_batch_that_lingers(autojump_clock: MockClock) -> None:
    send, receive = filled([[1]])
    async with trio.open_nursery() as nursery:

        async def end() -> None:
            await trio.sleep(1)
            send.close()

        nursery.start_soon(end)
        batches = Batches(receive, 100, linger=9)
        started = trio.current_time()
        assert [batch async for batch in batches] == [[1]]
        assert trio.current_time() - started == pytest.approx(1)
