"""Writes in requests that are not too large, for this relay or for the cluster."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.opensearch.cluster import Asked, Reply, in_turn, scripted
from tests.opensearch.test_bulk import CONFLICT, DONE, FAILED, carried_out, items, new, outcomes, sent
from tests.opensearch.test_client import pressed
from trio_relay.store.opensearch.bulk import Bulk, Write, _parts
from trio_relay.store.opensearch.documents import Document, Record


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.integers(1, 100))
def test_parts_hold_all_in_order_and_no_more_than_they_may_unless_one_alone_is_more(
    sizes: list[int], most: int
) -> None:
    pairs = [(Write(str(place), Record(), Document(0)), b"x" * size) for place, size in enumerate(sizes)]
    parts = list(_parts(pairs, most))
    assert [pair for part in parts for pair in part] == pairs
    filled = [sum(len(lines) for _, lines in part) for part in parts]
    assert all(size <= most or len(part) == 1 for size, part in zip(filled, parts, strict=True))
    # None could have taken the first of the next.
    assert all(size + len(after[0][1]) > most for size, after in zip(filled, parts[1:], strict=False))


async def test_a_batch_over_the_bytes_of_a_request_becomes_several() -> None:
    writes = new(*"abcde", size=1_000)
    most = 2 * len(writes[0].lines())
    _, cluster = await carried_out(writes, in_turn(items(201, 201), items(201, 409), items(201)), most)
    assert sent(cluster) == [["a", "b"], ["c", "d"], ["e"]]
    assert outcomes(writes) == [DONE, DONE, DONE, CONFLICT, DONE]


async def test_what_was_written_before_an_answer_was_lost_is_not_sent_again(autojump_clock: MockClock) -> None:
    writes = new(*"abcde", size=1_000)
    most = 2 * len(writes[0].lines())
    replies = in_turn(items(201, 429), httpx.ReadError("lost"), items(201, 409), items(201, 201))
    _, cluster = await carried_out(writes, replies, most)
    # The third part waits for the next attempt, since the node may be away.
    assert sent(cluster) == [["a", "b"], ["c", "d"], ["b", "c"], ["d", "e"]]
    assert outcomes(writes) == [DONE, DONE, CONFLICT, DONE, DONE]
    assert [write.is_uncertain for write in writes] == [False, False, True, True, False]


async def test_after_a_part_that_was_busy_the_others_wait_too(autojump_clock: MockClock) -> None:
    writes = new(*"ab", size=1_000)
    replies = in_turn(429, items(201), items(201))
    _, cluster = await carried_out(writes, replies, len(writes[0].lines()))
    assert sent(cluster) == [["a"], ["a"], ["b"]]
    assert outcomes(writes) == [DONE, DONE]


async def test_what_the_cluster_finds_too_large_is_halved_until_it_fits() -> None:
    writes = new(*"abcde")
    writes[3] = Write("d", Record(), Document(1, words="w" * 5_000))

    async def answer(asked: Asked) -> Reply:
        return 413 if len(asked.body) > 1_000 else items(*[201] * (len(asked.lines) // 2))

    async with scripted(answer) as cluster:
        bulk = Bulk(cluster.client, "some", 2**20, 5.0)
        await bulk.carry_out(writes)
    assert sent(cluster) == [["a", "b", "c", "d", "e"], ["a", "b"], ["c", "d", "e"], ["c"], ["d", "e"], ["d"], ["e"]]
    assert outcomes(writes) == [DONE, DONE, DONE, FAILED, DONE]
    assert writes[3].reason == "the relay's store takes no request of this size"
    assert bulk.trouble is None


@pytest.mark.parametrize("busy", [429, httpx.ReadError("lost")], ids=["busy", "lost"])
async def test_a_half_that_is_not_taken_is_sent_again_alone(busy: Reply, autojump_clock: MockClock) -> None:
    writes = new(*"abcd")
    _, cluster = await carried_out(writes, in_turn(413, items(201, 201), busy, items(201, 201)))
    assert sent(cluster) == [["a", "b", "c", "d"], ["a", "b"], ["c", "d"], ["c", "d"]]
    assert outcomes(writes) == [DONE] * 4


async def test_what_a_node_has_no_room_for_now_is_tried_again_in_halves(autojump_clock: MockClock) -> None:
    writes = new(*"abcdefgh", size=50_000)

    async def answer(asked: Asked) -> Reply:
        return 429 if len(asked.body) > 110_000 else items(*[201] * (len(asked.lines) // 2))

    async with scripted(answer) as cluster:
        bulk = Bulk(cluster.client, "some", 2**20, 5.0)
        await bulk.carry_out(writes)
    assert sent(cluster) == [list(slots) for slots in ("abcdefgh", "abcd", "ab", "cd", "ef", "gh")]
    assert outcomes(writes) == [DONE] * 8
    assert bulk.trouble is None


async def test_so_is_what_it_refuses_item_by_item(autojump_clock: MockClock) -> None:
    writes = new(*"abcd", size=50_000)
    _, cluster = await carried_out(writes, in_turn(items(201, 429, 429, 429), items(201, 201), items(201)))
    assert sent(cluster) == [["a", "b", "c", "d"], ["b", "c"], ["d"]]
    assert outcomes(writes) == [DONE] * 4


async def test_halves_are_not_tried_without_end(autojump_clock: MockClock) -> None:
    writes = new(*map(str, range(100)), size=10_000)

    async def answer(asked: Asked) -> Reply:
        return 429

    async with scripted(answer) as cluster:
        await Bulk(cluster.client, "some", 2**20, 60.0).carry_out(writes)
    assert outcomes(writes) == [FAILED] * 100
    sizes = [len(asked.body) for asked in cluster.asked]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) <= 66  # pauses of a second or more, after some that are shorter
    assert 50_000 <= sizes[-1] <= 65_536


@pytest.mark.parametrize("is_whole", [True, False])
async def test_what_no_node_ever_takes_is_split_at_once_and_in_order(*, is_whole: bool) -> None:
    writes = new(*"abcde")

    async def answer(asked: Asked) -> Reply:
        number = len(asked.lines) // 2
        if number > 2 or not is_whole:
            return pressed(number * 100, 250 if is_whole else 50)
        return items(*[201] * number)

    async with scripted(answer) as cluster:
        await Bulk(cluster.client, "some", 2**20, 5.0).carry_out(writes)
    if is_whole:
        assert sent(cluster) == [list("abcde"), ["a", "b"], list("cde"), ["c"], ["d", "e"]]
        assert outcomes(writes) == [DONE] * 5
    else:
        assert outcomes(writes) == [FAILED] * 5
        assert {write.reason for write in writes} == {"the relay's store takes no request of this size"}
        assert len(cluster.asked) == 9
