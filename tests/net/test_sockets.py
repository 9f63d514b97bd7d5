"""The doors on real sockets: addresses, resets, and a client that nobody here wrote."""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from struct import pack

import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from tests.support.keys import ALICE, NOW
from tests.support.server import Talker, run_threads_inline
from tests.support.wire import Wire, message
from trio_relay import Endpoints, Limits, MemoryStore, NetOptions, Server, bound_address, open_listeners, open_relay
from trio_relay.net import transport
from trio_relay.net.listeners import AddressRefused

PATIENCE = 10
LONG = [ALICE.event(str(number) + "x" * 200_000) for number in range(40)]


@asynccontextmanager
async def open_house(net: NetOptions | None = None, limits: Limits | None = None) -> AsyncIterator[tuple[Server, str]]:
    """A relay on a port of its own, and its address."""
    async with open_relay(MemoryStore(), limits=limits, clock=lambda: NOW) as relay, trio.open_nursery() as nursery:
        server = Server(relay, Endpoints(lambda: b"{}", relay.check, "hello\n"), net or NetOptions())
        listeners, stop = await open_listeners("127.0.0.1:0"), trio.Event()
        await nursery.start(server.serve, listeners, stop)
        yield server, bound_address(listeners[0])
        stop.set()


async def test_a_client_library_speaks_with_the_relay() -> None:
    event = ALICE.event("hello")
    with trio.fail_after(PATIENCE):
        async with open_house() as (_, address), trio_websocket.open_websocket_url(f"ws://{address}/") as connection:
            client = Talker(connection)
            assert await client.publish(event) == ["OK", event.id, True, ""]
            assert [found["id"] for found in await client.ask("a", {})] == [event.id]


async def test_a_client_that_resets_the_connection_is_gone() -> None:
    with trio.fail_after(PATIENCE):
        async with open_house() as (server, address):
            host, _, port = address.rpartition(":")
            wire = Wire(await trio.open_tcp_stream(host, int(port)))
            await wire.open()
            assert isinstance(wire.stream, trio.SocketStream)
            wire.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
            await wire.stream.aclose()
            while not server.statistics().close_reasons:
                await trio.lowlevel.checkpoint()
            assert server.statistics().close_reasons == {"lost": 1}


async def test_a_stream_without_an_address_or_closed_already_has_no_peer() -> None:
    near, far = socket.socketpair()
    with far:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(near))
        assert transport.peer_address(stream) == "unknown"  # such a pair has no addresses
        await stream.aclose()
        assert transport.peer_address(stream) == "unknown"


@pytest.mark.slow
def test_a_client_that_does_not_read_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel still holds for it is dropped at once, not tried for minutes."""
    run_threads_inline(monkeypatch)

    async def main() -> None:
        async with open_house(NetOptions(outbox_bytes=65_536)) as (server, address):
            host, _, port = address.rpartition(":")
            wire = Wire(await trio.open_tcp_stream(host, int(port)))
            await wire.open(message("REQ", "live", {"limit": 0}))
            assert await wire.receive() == ["EOSE", "live"]
            async with trio_websocket.open_websocket_url(f"ws://{address}/") as connection:
                for event in LONG:
                    await Talker(connection).publish(event)
                while server.statistics().connections > 1:  # noqa: ASYNC110  # virtual time goes on
                    await trio.sleep(0.1)
            assert server.statistics().close_reasons["too slow"] == 1
            with pytest.raises(trio.BrokenResourceError):
                await read_to_the_end(wire.stream)
            await wire.stream.aclose()

    trio.run(main, clock=MockClock(autojump_threshold=0.02))


async def read_to_the_end(stream: trio.abc.ReceiveStream) -> None:
    while await stream.receive_some():
        pass


@pytest.mark.parametrize(
    ("address", "shown"), [("127.0.0.1:0", "127.0.0.1"), ("localhost:0", "127.0.0.1"), ("[::1]:0", "[::1]")]
)
async def test_the_bound_address_has_the_port_that_it_got(address: str, shown: str) -> None:
    listeners = await open_listeners(address)
    try:
        bound = {bound_address(listener).rpartition(":") for listener in listeners}
        assert shown in {host for host, _, _ in bound}
        assert all(int(port) > 0 for _, _, port in bound)
    finally:
        for listener in listeners:
            await listener.aclose()


async def test_a_star_is_every_address_of_both_kinds_on_one_port() -> None:
    both = await open_listeners("*:0")
    addresses = [bound_address(listener) for listener in both]
    async with both[0], both[-1]:
        hosts, ports = zip(*(address.rpartition(":")[::2] for address in addresses), strict=True)
        assert hosts == ("0.0.0.0", "[::]")
        assert len(set(ports)) == 1
        for host in ("127.0.0.1", "::1"):
            async with await trio.open_tcp_stream(host, int(ports[0])):
                pass
        with pytest.raises(AddressRefused, match="Address already in use"):
            await open_listeners(f"*:{ports[0]}")


async def test_a_star_is_ipv4_alone_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    really = trio.open_tcp_listeners

    async def open_tcp_listeners(port: int, *, host: str, backlog: int) -> list[trio.SocketListener]:
        if host == "::":
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return await really(port, host=host, backlog=backlog)

    monkeypatch.setattr(trio, "open_tcp_listeners", open_tcp_listeners)
    [listener] = await open_listeners("*:0")
    async with listener:
        assert bound_address(listener).startswith("0.0.0.0:")


async def test_the_ipv6_wildcard_is_ipv6_alone() -> None:
    [listener] = await open_listeners("[::]:0")
    async with listener:
        with pytest.raises(OSError, match=r"all attempts to connect to 127\.0\.0\.1:\d+ failed"):
            await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])


async def test_an_address_in_use_is_refused_by_its_name() -> None:
    [listener] = await open_listeners("127.0.0.1:0")
    async with listener:
        address = bound_address(listener)
        with pytest.raises(AddressRefused, match=f"cannot listen on {address}: Address already in use"):
            await open_listeners(address)


async def test_an_empty_host_means_every_address() -> None:
    listeners = await open_listeners(":0")
    hosts = {bound_address(listener).rpartition(":")[0] for listener in listeners}
    for listener in listeners:
        await listener.aclose()
    assert hosts <= {"0.0.0.0", "[::]"}
    assert hosts


@pytest.mark.slow
async def test_a_thousand_and_more_silent_connections_shut_nobody_out() -> None:
    """On a listener of 1,000 places; both ends of all connections are of this process."""
    number = 1_100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * number + 200
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"{wanted} open files are needed, and {hard} allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted) if soft >= 0 else soft, hard))
    try:
        with trio.fail_after(60):
            async with open_house() as (server, address), AsyncExitStack() as stack:
                host, _, port = address.rpartition(":")
                silent = [
                    await stack.enter_async_context(await trio.open_tcp_stream(host, int(port))) for _ in range(number)
                ]
                for _ in range(3):
                    wire = Wire(await stack.enter_async_context(await trio.open_tcp_stream(host, int(port))))
                    await wire.open()
                    await wire.send(message("REQ", "a", {"limit": 0}))
                    assert await wire.receive() == ["EOSE", "a"]
                # One for each above a thousand, and one for the first newcomer, which then needed no such place.
                assert server.statistics().refused == number - 1_000 + 1
                # Those that came first have made room, and were closed.
                for stream in silent[: number - 1_000 + 1]:
                    assert await stream.receive_some() == b""
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
