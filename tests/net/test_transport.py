"""Bytes over real sockets: all at once where the kernel takes them, and an end however it comes."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from struct import pack

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_relay.net.transport import SocketTransport, Transport, transport

PATIENCE = 10
LONG = bytes(range(256)) * 40_000
"""More than loopback's buffers hold."""


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Transport, trio.SocketStream]]:
    """A transport and the client's end, connected by TCP on loopback."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        client = await trio.open_tcp_stream(*listener.socket.getsockname()[:2])
        stream = await listener.accept()
    with trio.fail_after(PATIENCE):
        async with client, stream:
            yield transport(stream), client


async def read(client: trio.SocketStream, size: int) -> bytes:
    received = b""
    while len(received) < size and (data := await client.receive_some()):
        received += data
    return received


async def reset(client: trio.SocketStream) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
    await client.aclose()


async def test_a_socket_has_its_own_way_and_any_other_stream_the_general_one() -> None:
    async with connected() as (ours, _):
        assert type(ours) is SocketTransport
    assert type(transport(memory_stream_pair()[0])) is Transport


async def test_what_the_network_takes_leaves_at_once() -> None:
    async with connected() as (ours, client):
        assert ours.send_nowait(b"hello") == 5
        assert await read(client, 5) == b"hello"


async def test_what_it_does_not_take_is_told_and_can_be_sent_later_in_its_order() -> None:
    async with connected() as (ours, client):
        sent = ours.send_nowait(LONG)
        assert 0 < sent < len(LONG)
        while more := ours.send_nowait(LONG[sent:]):
            sent += more  # what the kernel has moved meanwhile
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await read(client, len(LONG)))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await ours.send(memoryview(LONG)[sent:])
        assert received == [LONG]


async def test_receiving_waits_for_bytes_and_takes_no_more_than_asked() -> None:
    async with connected() as (ours, client), trio.open_nursery() as nursery:
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await ours.receive(3))

        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert received == []
        await client.send_all(b"hello")
        while not received:
            await trio.lowlevel.checkpoint()
        assert received == [b"hel"]
        assert await ours.receive(100) == b"lo"


@pytest.mark.parametrize("ends", [trio.SocketStream.send_eof, trio.SocketStream.aclose, reset])
async def test_however_the_stream_ends_there_is_nothing_more_to_receive(ends: object) -> None:
    async with connected() as (ours, client):
        await ends(client)  # type: ignore[operator]  # each is a coroutine function
        assert await ours.receive(100) == b""
        assert await ours.receive(100) == b""


async def test_sending_to_who_is_gone_is_an_error() -> None:
    async with connected() as (ours, client):
        await reset(client)
        assert await ours.receive(100) == b""
        with pytest.raises(OSError, match="Broken pipe"):
            ours.send_nowait(b"hello")
        with pytest.raises(trio.BrokenResourceError):
            await ours.send(b"hello")


async def test_a_wake_up_for_nothing_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    wakes = 0
    wait_readable = trio.lowlevel.wait_readable

    async def wake_too_early(fd: int) -> None:
        nonlocal wakes
        wakes += 1
        if wakes < 4:
            await trio.lowlevel.checkpoint()
        else:
            await wait_readable(fd)

    monkeypatch.setattr(trio.lowlevel, "wait_readable", wake_too_early)
    async with connected() as (ours, client), trio.open_nursery() as nursery:
        received: list[bytes] = []

        async def receive() -> None:
            received.append(await ours.receive(100))

        nursery.start_soon(receive)
        while wakes < 4:
            await trio.lowlevel.checkpoint()
        assert received == []
        await client.socket.send(b"hello")
        while not received:
            await trio.lowlevel.checkpoint()
        assert received == [b"hello"]


async def test_who_stops_waiting_to_receive_has_lost_nothing() -> None:
    async with connected() as (ours, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.receive, 100)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await client.send_all(b"hello")
        assert await ours.receive(100) == b"hello"


async def test_who_stops_waiting_to_send_has_sent_a_beginning() -> None:
    async with connected() as (ours, client):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.send, LONG)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await ours.send_eof()
        received = await read(client, len(LONG))
        assert len(received) < len(LONG)
        assert LONG.startswith(received)


async def test_saying_that_nothing_more_comes_leaves_the_other_way_open() -> None:
    async with connected() as (ours, client):
        await ours.send_eof()
        assert await read(client, 1) == b""
        await client.send_all(b"hello")
        assert await ours.receive(100) == b"hello"


async def test_another_stream_takes_nothing_at_once_and_everything_in_time() -> None:
    near, far = memory_stream_pair()
    ours = transport(far)
    assert ours.send_nowait(b"hello") == 0
    await ours.send(memoryview(b"hello"))
    assert await near.receive_some() == b"hello"
    await near.send_all(b"answer")
    assert await ours.receive(100) == b"answer"
    await near.aclose()
    assert await ours.receive(100) == b""
    with pytest.raises(trio.BrokenResourceError):
        await ours.send(b"hello")


async def test_another_stream_that_breaks_has_ended() -> None:
    class Broken(trio.abc.Stream):
        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            raise trio.BrokenResourceError

        async def send_all(self, data: bytes | bytearray | memoryview) -> None:
            raise trio.BrokenResourceError

        async def wait_send_all_might_not_block(self) -> None:
            raise trio.BrokenResourceError

        async def aclose(self) -> None:
            raise trio.BrokenResourceError

    assert await transport(Broken()).receive(100) == b""
    await transport(Broken()).send_eof()  # it cannot say so, and need not
