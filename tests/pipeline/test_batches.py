"""Batches: what waits in a channel goes on together, and nothing is left behind."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.pipeline.batches import BATCH_BYTES, Batches


def filled(parcels: list[list[int]]) -> tuple[trio.MemorySendChannel[list[int]], trio.MemoryReceiveChannel[list[int]]]:
    """A channel in which these parcels wait."""
    send, receive = trio.open_memory_channel[list[int]](len(parcels))
    for parcel in parcels:
        send.send_nowait(parcel)
    return send, receive


@pytest.mark.parametrize(
    ("parcels", "most", "batches"),
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
    parcels: list[list[int]], most: int, batches: list[list[int]]
) -> None:
    send, receive = filled(parcels)
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
    parcel = [1]
    send, receive = filled([parcel, [2]])
    assert await anext(Batches(receive, 100)) == [1, 2]
    assert parcel == [1]
    send.close()


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(), min_size=1, max_size=4), max_size=12), st.integers(1, 6))
async def test_every_item_comes_once_and_in_order(parcels: list[list[int]], most: int) -> None:
    send, receive = filled(parcels)
    send.close()
    batches = [batch async for batch in Batches(receive, most)]
    assert [item for batch in batches for item in batch] == [item for parcel in parcels for item in parcel]
    widest = max(map(len, parcels), default=0)
    assert all(len(batch) < most + widest for batch in batches)


async def test_a_batch_of_large_items_takes_no_further_parcel() -> None:
    send, receive = filled([[1], [2], [3]])
    send.close()
    sizes = {1: BATCH_BYTES - 1, 2: 1, 3: 1}
    assert [batch async for batch in Batches(receive, 100, lambda item: sizes[item])] == [[1, 2], [3]]
