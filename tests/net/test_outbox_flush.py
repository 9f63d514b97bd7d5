"""Flushing an outbox: it asks for one flush, and offers all it has to the network before a client is too slow."""

from __future__ import annotations

import pytest
import trio

from tests.net.lines import MESSAGE_COST, message_of, open_client, started
from trio_relay.net.close_reasons import TOO_SLOW

STUCK = 0
"""What a network takes at once that takes nothing."""


async def test_an_outbox_asks_for_one_flush_however_much_waits() -> None:
    async with open_client() as client:
        client.send(b"a", b"b", b"c")
        [flush] = client.flushes
        flush()
        assert client.line.pieces == [b"abc"]
        client.send(b"d")
        assert client.flushes == [flush] * 2


async def test_what_is_held_asks_for_no_flush_and_leaves_in_one_piece_at_the_end() -> None:
    async with open_client() as client:
        client.outbox.hold()
        client.send(b"a", b"b")
        assert client.line.pieces == []
        client.outbox.let_go()
        assert (client.line.pieces, client.flushes) == ([b"ab"], [])
        client.send(b"c")
        assert len(client.flushes) == 1


async def test_what_was_never_offered_is_not_the_clients_delay() -> None:
    async with open_client(1000) as client:
        messages = [bytes([letter]) * 500 for letter in b"abcdefgh"]
        client.send(*messages)
        client.outbox.flush()
        assert (client.line.received, client.hung_up) == (b"".join(messages), [])


async def test_a_client_that_takes_nothing_overflows_and_only_then() -> None:
    async with open_client(1000, STUCK) as client:
        client.send(message_of(1000))
        assert client.hung_up == []
        client.send(b"", b"")
        assert client.hung_up == [TOO_SLOW]
        await client.line.take_all()
        assert client.line.received == message_of(1000)


async def test_a_part_that_has_left_frees_no_room_before_the_rest_has() -> None:
    async with open_client(1000, at_once=500) as client:
        client.send(message_of(1000), b"y")
        assert client.hung_up == [TOO_SLOW]
        assert client.line.received == message_of(1000)[:500]


async def test_flushing_does_nothing_where_nothing_waits() -> None:
    async with open_client() as client:
        client.outbox.flush()
        client.outbox.close()
        client.outbox.flush()
        assert client.line.pieces == []


async def test_while_a_task_waits_for_the_network_it_alone_sends() -> None:
    async with open_client(1000, at_once=2) as client:
        client.send(b"one")
        client.outbox.flush()
        client.send(b"two", b"three")
        client.outbox.flush()
        assert client.line.pieces == [b"on"]
        statistics = client.outbox.statistics()
        assert (statistics.waiting, statistics.is_draining) == (2, True)
        assert statistics.used_bytes == len(b"onetwothree") + 3 * MESSAGE_COST
        async with started(client.outbox.drained) as drained:
            await client.line.take_all()
            assert not drained.is_set()
            await client.line.take_all()
        assert client.line.pieces == [b"on", b"e", b"twothree"]
        statistics = client.outbox.statistics()
        assert (statistics.waiting, statistics.used_bytes, statistics.is_draining) == (0, 0, False)


@pytest.mark.parametrize(("waiting", "size", "has_room"), [(0, 500, True), (0, 501, False), (200, 300, True)])
async def test_stored_events_have_half_of_the_room(waiting: int, size: int, has_room: bool) -> None:
    async with open_client(1000) as client:
        if waiting:
            client.send(message_of(waiting))
        assert client.outbox.has_room_for(size) is has_room


async def test_there_is_no_room_where_half_is_taken_or_all_is_over() -> None:
    async with open_client(1000) as client:
        client.send(message_of(500))
        assert client.outbox.has_room_for(0)
        assert not client.outbox.has_room_for(1)
        client.send(b"")
        assert not client.outbox.has_room_for(0)
        client.outbox.flush()
        assert client.outbox.has_room_for(0)
        client.outbox.close()
        assert not client.outbox.has_room_for(0)


async def test_closing_while_something_waits_leaves_it_to_be_flushed_and_wakes_who_waits_for_room() -> None:
    async with open_client(1000) as client:
        client.send(b"x" * 900)
        async with started(client.outbox.wait_for_room) as has_room:
            assert not has_room.is_set()
            client.outbox.close(last=b"bye")
        client.send(b"late")
        client.outbox.flush()
        assert client.line.received == b"x" * 900 + b"bye"


async def test_closing_may_forget_what_waits_and_the_flush_finds_nothing() -> None:
    async with open_client(1000) as client:
        client.send(b"a")
        client.outbox.close(forget=True)
        for flush in client.flushes:
            flush()
        assert client.line.pieces == []


async def test_a_client_whose_line_is_found_broken_while_room_is_made_is_not_called_too_slow() -> None:
    async with open_client(1000) as client:
        client.send(b"x" * 900)
        client.line.fault = BrokenPipeError()
        client.send(b"y" * 900)
        assert (client.hung_up, client.outbox.statistics().waiting) == ([], 0)


async def test_a_line_that_breaks_while_a_task_waits_for_it_ends_the_outbox_and_nothing_else() -> None:
    async with open_client(1000, STUCK) as client:
        client.send(b"a")
        client.outbox.flush()
        client.send(b"b")
        client.line.fault = trio.BrokenResourceError()
        await client.line.take_all()
        client.send(b"late")
        statistics = client.outbox.statistics()
        assert (statistics.waiting, statistics.is_draining) == (0, False)
        assert client.line.pieces == []
