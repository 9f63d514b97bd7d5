"""The outbox: bounded in bytes, in order, and only the client that doesn't read is hurt."""

from __future__ import annotations

import pytest
from trio.testing import wait_all_tasks_blocked

from tests.net.lines import MESSAGE_COST, message_of, open_client, started
from trio_relay.net.close_reasons import TOO_SLOW
from trio_relay.net.frames import deflated_text, text

STUCK = 0
"""What a network takes at once that takes nothing."""


async def test_messages_leave_in_order_and_together() -> None:
    async with open_client() as client:
        client.outbox.send_nowait(b"a")
        client.outbox.send_nowait(b"b")
        client.send(b"framed")
        assert client.line.pieces == []
        client.outbox.flush()
        assert client.line.pieces == [text(b"a") + text(b"b") + b"framed"]


async def test_answers_are_deflated_for_clients_that_have_agreed_and_live_events_are_shared_by_all() -> None:
    message = b"x" * 5_000
    async with open_client(2**20, deflates=True) as client:
        client.outbox.send_nowait(message)
        client.outbox.flush()
        assert client.line.received == deflated_text(message)
        assert client.outbox.live_frame is text


@pytest.mark.parametrize(
    ("most_bytes", "deflates", "chunk_bytes"),
    [(2**23, False, 2**20), (2**23, True, 2**16), (2**16, False, 2**15), (2**16, True, 2**15)],
)
async def test_what_is_framed_in_one_go_is_at_most_half_of_the_room(
    most_bytes: int, deflates: bool, chunk_bytes: int
) -> None:
    async with open_client(most_bytes, deflates=deflates) as client:
        assert client.outbox.chunk_bytes == chunk_bytes


async def test_a_full_outbox_closes_and_tells_so_once() -> None:
    async with open_client(1000, STUCK) as client:
        client.send(message_of(500), message_of(500))
        assert client.hung_up == []
        client.send(b"", b"")
        assert client.hung_up == [TOO_SLOW]
        assert client.outbox.statistics().used_bytes == 1000
        await client.line.take_all()
        client.send(b"late")
        client.outbox.close()
        client.outbox.flush()
        assert client.line.received == message_of(500) * 2
        assert client.outbox.statistics().used_bytes == 0


async def test_a_lone_message_passes_whatever_its_size() -> None:
    async with open_client(1000, STUCK) as client:
        client.send(message_of(5000))
        assert (client.hung_up, client.outbox.statistics().used_bytes) == ([], 5000)
        client.outbox.flush()
        await client.line.take_all()
        assert client.line.received == message_of(5000)


async def test_what_is_on_its_way_fills_the_outbox_until_it_has_left() -> None:
    async with open_client(1000, STUCK) as client:
        client.send(message_of(800))
        client.outbox.flush()
        client.send(message_of(200))
        await client.line.take_all()
        client.send(message_of(800))
        assert client.hung_up == []
        client.send(b"")
        assert client.hung_up == [TOO_SLOW]


async def test_many_tiny_messages_are_not_free() -> None:
    async with open_client(10 * (MESSAGE_COST + 1), STUCK) as client:
        client.send(*[b"x"] * 10)
        assert client.hung_up == []
        client.send(b"x")
        assert client.hung_up == [TOO_SLOW]


async def test_stored_events_wait_while_over_half_is_taken() -> None:
    async with open_client(1000, STUCK) as client:
        client.send(message_of(501))
        async with started(client.outbox.wait_for_room) as has_room:
            client.outbox.flush()
            await wait_all_tasks_blocked()
            assert not has_room.is_set()
            await client.line.take_all()
        assert has_room.is_set()


async def test_stored_events_do_not_wait_at_exactly_half() -> None:
    async with open_client(1000) as client:
        client.send(message_of(500))
        async with started(client.outbox.wait_for_room) as has_room:
            assert has_room.is_set()


async def test_stored_events_wait_until_they_fit_in() -> None:
    async with open_client(1000, STUCK) as client:
        client.send(message_of(400), message_of(100))
        async with started(lambda: client.outbox.wait_for_room([message_of(501)])) as has_room:
            assert not has_room.is_set()
            client.outbox.flush()
            await client.line.take_all()
        assert has_room.is_set()


async def test_all_who_wait_for_room_are_woken_together() -> None:
    async with open_client(1000) as client:
        client.send(message_of(1000))
        async with started(client.outbox.wait_for_room) as first, started(client.outbox.wait_for_room) as second:
            client.outbox.flush()
        assert first.is_set()
        assert second.is_set()


async def test_closing_wakes_who_waits_for_room() -> None:
    async with open_client(1000) as client:
        client.send(message_of(900))
        async with started(client.outbox.wait_for_room):
            client.outbox.close()


async def test_an_overflow_wakes_who_waits_for_room() -> None:
    async with open_client(1000, STUCK) as client:
        client.send(message_of(900))
        async with started(client.outbox.wait_for_room):
            client.send(message_of(900))


async def test_closing_with_a_last_message_finds_room_in_a_full_outbox() -> None:
    async with open_client(1000) as client:
        client.send(message_of(1000))
        client.outbox.close(last=b"bye")
        client.outbox.flush()
        assert client.line.received == message_of(1000) + b"bye"
        assert client.hung_up == []


async def test_closing_can_forget_what_waits() -> None:
    async with open_client(1000, STUCK) as client:
        client.send(message_of(300))
        client.outbox.flush()  # this is on its way
        client.send(message_of(700, b"y"))
        client.outbox.close(last=b"bye", forget=True)
        await client.line.take_all()
        await client.line.take_all()
        assert client.line.received == message_of(300) + b"bye"
        assert client.outbox.statistics().used_bytes == 0


async def test_a_closed_outbox_takes_nothing() -> None:
    async with open_client(1000) as client:
        client.outbox.close()
        client.send(b"late")
        client.outbox.flush()
        assert (client.line.pieces, client.hung_up, client.flushes) == ([], [], [])


async def test_the_last_message_gets_through_after_an_overflow_that_found_nothing_waiting() -> None:
    async with open_client(1000, STUCK) as client:
        client.send(message_of(2000))
        client.outbox.flush()  # all of it is on its way
        client.send(b"too much")
        assert client.hung_up == [TOO_SLOW]
        client.outbox.close(last=b"bye", forget=True)
        await client.line.take_all()
        await client.line.take_all()
        assert client.line.received == message_of(2000) + b"bye"


async def test_much_leaves_in_pieces_of_whole_messages() -> None:
    async with open_client(2**20) as client:
        messages = [bytes([letter]) * 30_000 for letter in b"abcdefg"]
        client.send(*messages)
        client.outbox.close()
        client.outbox.flush()
        assert client.line.pieces == [b"".join(messages[:3]), b"".join(messages[3:6]), messages[6]]


async def test_it_tells_once_what_has_left() -> None:
    async with open_client(1000, 0) as client:
        client.send(message_of(300), message_of(200))
        client.outbox.flush()
        assert client.outbox.take_sent() == 0
        await client.line.take_all()
        assert client.outbox.take_sent() == 500
        client.send(message_of(100))
        client.outbox.close(forget=True)
        assert client.outbox.take_sent() == 0
