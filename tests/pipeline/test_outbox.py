"""The outbox: bounded in bytes, in order, and only the client who doesn't read is hurt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_relay.pipeline.outbox import Outbox, unframed

MESSAGE_COST = 64
"""What a message weighs beyond its bytes."""


class Overflows:
    """How often the client was told that it is too slow."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> None:
        self.number += 1


def boxed(most_bytes: int, frame: Callable[[bytes], bytes] = unframed) -> tuple[Outbox, Overflows]:
    overflows = Overflows()
    return Outbox(frame, most_bytes, overflows), overflows


def message_of(cost: int, fill: bytes = b"x") -> bytes:
    """A message that weighs this much."""
    return fill * (cost - MESSAGE_COST)


@asynccontextmanager
async def started(waits: Callable[[], object]) -> AsyncIterator[trio.Event]:
    """Run a waiting call in the background; the event tells that it is over."""
    over = trio.Event()

    async def run() -> None:
        await waits()  # type: ignore[misc]  # any coroutine function
        over.set()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await wait_all_tasks_blocked()
            yield over


async def test_messages_leave_in_order_and_together() -> None:
    outbox, _ = boxed(1000, frame=lambda message: b"<" + message + b">")
    for message in (b"a", b"b"):
        outbox.send_nowait(message)
    outbox.put_nowait(b"framed")
    assert await outbox.take() == (b"<a><b>framed", len(b"<a><b>framed") + 3 * MESSAGE_COST)


async def test_taking_waits_for_the_first_message() -> None:
    outbox, _ = boxed(1000)
    async with started(outbox.take) as taken:
        assert not taken.is_set()
        outbox.send_nowait(b"a")
    assert taken.is_set()


@pytest.mark.parametrize("close_first", [True, False])
async def test_taking_ends_once_closed_and_empty(close_first: bool) -> None:
    outbox, _ = boxed(1000)
    outbox.send_nowait(b"a")
    if close_first:
        outbox.close()
    assert (await outbox.take())[0] == b"a"
    outbox.close()
    outbox.send_nowait(b"late")
    assert await outbox.take() == (b"", 0)


async def test_closing_wakes_who_waits_to_take() -> None:
    outbox, _ = boxed(1000)
    async with started(outbox.take):
        outbox.close()


async def test_a_full_outbox_closes_and_tells_so_once() -> None:
    outbox, overflows = boxed(1000)
    outbox.send_nowait(message_of(500))
    outbox.send_nowait(message_of(500))
    assert overflows.number == 0
    outbox.send_nowait(b"")
    outbox.send_nowait(b"")
    assert overflows.number == 1
    _, cost = await outbox.take()
    assert cost == 1000
    outbox.sent(cost)
    outbox.send_nowait(b"late")
    outbox.close()
    assert await outbox.take() == (b"", 0)


async def test_a_lone_message_passes_whatever_its_size() -> None:
    outbox, overflows = boxed(1000)
    outbox.send_nowait(message_of(5000))
    assert overflows.number == 0
    assert await outbox.take() == (message_of(5000), 5000)


async def test_what_was_taken_fills_the_outbox_until_it_is_sent() -> None:
    outbox, overflows = boxed(1000)
    outbox.send_nowait(message_of(800))
    _, cost = await outbox.take()
    outbox.send_nowait(message_of(200))
    outbox.sent(cost)
    outbox.send_nowait(message_of(800))
    assert overflows.number == 0
    outbox.send_nowait(b"")
    assert overflows.number == 1


async def test_many_empty_messages_are_not_free() -> None:
    outbox, overflows = boxed(10 * MESSAGE_COST)
    for _ in range(10):
        outbox.send_nowait(b"")
    assert overflows.number == 0
    outbox.send_nowait(b"")
    assert overflows.number == 1


async def test_stored_results_wait_while_over_half_is_taken() -> None:
    outbox, _ = boxed(1000)
    outbox.send_nowait(message_of(501))
    async with started(outbox.wait_for_room) as has_room:
        _, cost = await outbox.take()
        await wait_all_tasks_blocked()
        assert not has_room.is_set()
        outbox.sent(cost)
    assert has_room.is_set()


async def test_stored_results_do_not_wait_at_exactly_half() -> None:
    outbox, _ = boxed(1000)
    outbox.send_nowait(message_of(500))
    async with started(outbox.wait_for_room) as has_room:
        assert has_room.is_set()


async def test_all_who_wait_for_room_are_woken_together() -> None:
    outbox, _ = boxed(1000)
    outbox.send_nowait(message_of(1000))
    async with started(outbox.wait_for_room) as first, started(outbox.wait_for_room) as second:
        outbox.sent((await outbox.take())[1])
    assert first.is_set()
    assert second.is_set()


async def test_closing_wakes_who_waits_for_room() -> None:
    outbox, _ = boxed(1000)
    outbox.send_nowait(message_of(900))
    async with started(outbox.wait_for_room):
        outbox.close()


async def test_an_overflow_wakes_who_waits_for_room() -> None:
    outbox, _ = boxed(1000)
    outbox.send_nowait(message_of(900))
    async with started(outbox.wait_for_room):
        outbox.send_nowait(message_of(900))


async def test_closing_with_a_last_message_finds_room_in_a_full_outbox() -> None:
    outbox, overflows = boxed(1000)
    outbox.send_nowait(message_of(1000))
    outbox.close(last=b"bye")
    assert (await outbox.take())[0] == message_of(1000) + b"bye"
    assert (await outbox.take())[1] == 0
    assert overflows.number == 0


async def test_closing_can_forget_what_waits() -> None:
    outbox, _ = boxed(1000)
    outbox.send_nowait(message_of(300))
    _, in_flight = await outbox.take()
    outbox.send_nowait(message_of(700))
    outbox.close(last=b"bye", forget=True)
    outbox.sent(in_flight)
    assert await outbox.take() == (b"bye", len(b"bye") + MESSAGE_COST)
    assert await outbox.take() == (b"", 0)


async def test_a_closed_outbox_takes_nothing() -> None:
    outbox, overflows = boxed(1000)
    outbox.close()
    outbox.send_nowait(b"late")
    assert await outbox.take() == (b"", 0)
    assert overflows.number == 0


async def test_the_last_message_gets_through_after_an_overflow_that_found_nothing_waiting() -> None:
    outbox, overflows = boxed(1000)
    outbox.send_nowait(message_of(2000))
    _, cost = await outbox.take()  # all of it is on its way
    outbox.send_nowait(b"too much")
    assert overflows.number == 1
    outbox.sent(cost)
    taken: list[tuple[bytes, int]] = []

    async def take() -> None:
        taken.append(await outbox.take())

    async with started(take):
        outbox.close(last=b"bye", forget=True)
    assert taken == [(b"bye", len(b"bye") + MESSAGE_COST)]


async def test_much_leaves_in_pieces_of_whole_messages() -> None:
    outbox, _ = boxed(2**20)
    messages = [bytes([letter]) * 30_000 for letter in b"abcdefg"]
    for message in messages:
        outbox.send_nowait(message)
    outbox.close()
    pieces: list[bytes] = []
    while (taken := await outbox.take()) != (b"", 0):
        pieces.append(taken[0])
        outbox.sent(taken[1])
    assert pieces == [b"".join(messages[:3]), b"".join(messages[3:6]), messages[6]]
