"""Listeners of workers: on sockets that their keeper has opened, and from which all of them accept."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from trio_relay import bound_address, open_listeners
from trio_relay.net import listeners


def never() -> bool:
    return False


def always() -> bool:
    return True


def inherited(listener: listeners.BoundListener, is_ahead: Callable[[], bool] = never) -> listeners.SharedListener:
    """What a worker makes of a listener of its keeper."""
    return listeners.inherited_listener(os.dup(listener.socket.fileno()), is_ahead)


@asynccontextmanager
async def shared(*is_ahead: Callable[[], bool]) -> AsyncIterator[list[listeners.SharedListener]]:
    """Listeners of so many workers on one port."""
    async with AsyncExitStack() as opened:
        [listener] = await open_listeners("127.0.0.1:0")
        await opened.enter_async_context(listener)
        yield [await opened.enter_async_context(inherited(listener, each)) for each in is_ahead]


def connected(listener: listeners.BoundListener) -> socket.socket:
    """A connection that waits to be accepted."""
    return socket.create_connection(listener.socket.getsockname()[:2])


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "*:0", "unix:{folder}/relay.sock"])
async def test_what_a_worker_inherits_is_its_keepers(address: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as opened:
        for listener in await open_listeners(address.format(folder=tmp_path)):
            await opened.enter_async_context(listener)
            for _ in range(2):
                worker = inherited(listener)
                assert bound_address(worker) == bound_address(listener)
                with socket.socket(listener.socket.family) as client:
                    name = listener.socket.getsockname()
                    client.connect(name)
                    async with await worker.accept() as stream:
                        client.send(b"hello")
                        assert await stream.receive_some() == b"hello"
                await worker.aclose()


async def test_the_file_of_a_unix_socket_is_its_keepers_to_remove(tmp_path: Path) -> None:
    [listener] = await open_listeners(f"unix:{tmp_path}/relay.sock")
    await inherited(listener).aclose()
    assert os.listdir(tmp_path) == ["relay.sock"]
    await listener.aclose()
    assert os.listdir(tmp_path) == []


async def test_who_connects_while_no_worker_is_there_is_served_by_the_next(autojump_clock: MockClock) -> None:
    [listener] = await open_listeners("127.0.0.1:0")
    async with listener:
        await inherited(listener).aclose()
        with connected(listener) as client:
            async with inherited(listener) as successor, await successor.accept() as stream:
                client.close()
                assert await stream.receive_some() == b""


async def test_what_is_no_listening_socket_is_refused(tmp_path: Path) -> None:
    file = os.open(tmp_path, os.O_RDONLY)
    with socket.socket() as idle, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        for fd in (file, os.dup(idle.fileno()), os.dup(deaf.fileno())):
            with pytest.raises(ValueError, match=rf"^file descriptor {fd} is of no listening socket$"):
                listeners.inherited_listener(fd, never)
    os.close(file)


async def test_each_connection_is_accepted_once(autojump_clock: MockClock) -> None:
    accepted = Counter[int]()

    async def serve(number: int, listener: listeners.SharedListener) -> None:
        while True:
            async with await listener.accept():
                accepted[number] += 1

    async with shared(never, always, never) as workers, trio.open_nursery() as nursery:
        for number, listener in enumerate(workers):
            nursery.start_soon(serve, number, listener)
        for _ in range(10):
            clients = [connected(workers[0]) for _ in range(10)]
            await trio.sleep(1)
            for client in clients:
                assert client.recv(1) == b""
                client.close()
        nursery.cancel_scope.cancel()
    assert accepted.total() == 100


async def test_who_is_ahead_lets_the_others_go_first(autojump_clock: MockClock) -> None:
    async with shared(always, never) as (ahead, behind), trio.open_nursery() as nursery:

        async def wait() -> None:
            async with await ahead.accept():
                raise AssertionError("accepted before the other")

        nursery.start_soon(wait)
        for _ in range(20):
            await trio.testing.wait_all_tasks_blocked()
            with connected(behind):
                async with await behind.accept():
                    await trio.sleep(1)
        nursery.cancel_scope.cancel()


async def test_where_no_other_comes_it_accepts_a_moment_later(autojump_clock: MockClock) -> None:
    async with shared(always, never) as (ahead, _):
        for _ in range(3):
            before = trio.current_time()
            with connected(ahead):
                async with await ahead.accept():
                    assert 0 < trio.current_time() - before < 0.005


async def test_so_all_have_the_same_number_in_the_end(autojump_clock: MockClock) -> None:
    held = [30, 0, 10]

    def is_ahead(number: int) -> Callable[[], bool]:
        return lambda: 3 * held[number] > sum(held)

    async def serve(number: int, listener: listeners.SharedListener) -> None:
        while True:
            async with await listener.accept():
                held[number] += 1

    async with shared(*map(is_ahead, range(3))) as workers, trio.open_nursery() as nursery:
        for number, listener in enumerate(workers):
            nursery.start_soon(serve, number, listener)
        for _ in range(80):
            with connected(workers[0]):
                await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert sum(held) == 120
    assert max(held) - min(held) <= 2
