"""Addresses at the door, on real sockets: proxies, blocks, and how many connections one address may have."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
import structlog
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from tests.support.keys import NOW
from tests.support.marks import replaces_what_is_compiled
from tests.support.server import open_door
from tests.support.wire import Reply, Wire, closing, message, open_stream, request, upgrade
from trio_relay import Endpoints, MemoryStore, NetOptions, Server, bound_address, open_listeners, open_relay
from trio_relay.net import addresses, http, http_responses
from trio_relay.net import server as server_module
from trio_relay.pipeline.admission import Admission
from trio_relay.policy import identity

PATIENCE = 10
HERE, THERE, PROXY = "127.0.0.1", "127.0.0.2", "127.0.0.3"
BEHIND = NetOptions(trusted_proxies=(PROXY,))


class Front(Endpoints):
    """Writes down who asks."""

    def __init__(self) -> None:
        super().__init__(lambda: b"{}", self._well, "hello\n")
        self.clients: list[str] = []

    async def _well(self) -> None:
        return None

    async def answer(self, request: http.Request, *others: Any) -> http_responses.Response | None:
        self.clients.append(request.client)
        return await super().answer(request, *others)


class House:
    """A relay on a port of its own, which can be reached from several addresses of this machine."""

    def __init__(self, server: Server, front: Front, blocked: addresses.AddressList, port: int) -> None:
        self.server = server
        self.front = front
        self.blocked = blocked
        self._port = port

    @asynccontextmanager
    async def wire(self, address: str) -> AsyncIterator[Wire]:
        """A connection from this address."""
        async with await trio.open_tcp_stream(HERE, self._port, local_address=address) as stream:
            yield Wire(stream)

    async def left(self, reason: str, times: int = 1) -> None:
        """Wait until so many clients have left for this reason."""
        while self.server.statistics().close_reasons.get(reason, 0) < times:
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def open_house(net: NetOptions | None = None) -> AsyncIterator[House]:
    with trio.fail_after(PATIENCE):
        async with open_relay(MemoryStore(), clock=lambda: NOW) as relay, trio.open_nursery() as nursery:
            front, blocked = Front(), addresses.AddressList()
            server = Server(relay, front, net or NetOptions(), lambda address: blocked.covers(address, NOW))
            listeners, stop = await open_listeners(f"{HERE}:0"), trio.Event()
            await nursery.start(server.serve, listeners, stop)
            yield House(server, front, blocked, int(bound_address(listeners[0]).rpartition(":")[2]))
            stop.set()


async def shake_hands(wire: Wire, forwarded: str | None = None) -> Reply:
    await wire.send(upgrade(X_Forwarded_For=forwarded))
    return await wire.reply()


async def test_a_request_tells_from_which_address_it_came() -> None:
    async with open_house() as house, house.wire(HERE) as one, house.wire(THERE) as two:
        assert [(await wire.ask()).status for wire in (one, two, one)] == [200, 200, 200]
        assert house.front.clients == [HERE, THERE, HERE]


async def test_through_a_trusted_proxy_each_request_tells_its_own_client() -> None:
    """A proxy sends requests of several clients over one connection."""
    async with open_house(BEHIND) as house, house.wire(PROXY) as proxy, house.wire(HERE) as liar:
        twice = "203.0.113.9\r\nX-Forwarded-For: 203.0.113.10"
        for forwarded in ("203.0.113.7", "198.51.100.1, 203.0.113.8", "nonsense", twice):
            await proxy.send(request(headers={"X-Forwarded-For": forwarded}))
            await proxy.reply()
        await liar.send(request(headers={"X-Forwarded-For": "203.0.113.7"}))
        await liar.reply()
        assert house.front.clients == ["203.0.113.7", "203.0.113.8", "unnamed", "203.0.113.10", HERE]


@replaces_what_is_compiled
async def test_who_comes_from_this_machine_is_bounded_by_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy on the same machine that nobody has named, that is everybody."""
    origins: list[str | None] = []
    new_identity = Admission.new_identity

    def noted(admission: Admission, origin: str | None = None, address: str = "") -> identity.Identity:
        origins.append(origin)
        return new_identity(admission, origin, address)

    monkeypatch.setattr(Admission, "new_identity", noted)
    async with open_house(BEHIND) as house, house.wire(PROXY) as proxied, house.wire(HERE) as direct:
        await shake_hands(proxied, "203.0.113.7")
        await shake_hands(direct)
    assert origins == ["203.0.113.7", None]


async def test_a_connection_is_logged_with_the_address_of_the_client(
    logged: list[structlog.typing.EventDict],
) -> None:
    async with open_house(BEHIND) as house, house.wire(PROXY) as proxied, house.wire(HERE) as direct:
        await shake_hands(proxied, "203.0.113.7")
        await shake_hands(direct)
    connected = [entry["address"] for entry in logged if entry["event"] == "connected"]
    assert connected == ["203.0.113.7", HERE]


async def test_a_blocked_address_is_turned_away_before_anything_is_read() -> None:
    async with open_house() as house, house.wire(HERE) as open_one, house.wire(THERE) as early:
        assert (await early.ask()).status == 200
        house.blocked.add(THERE)
        reply = await early.ask()  # of a connection from before
        assert (reply.status, reply.body) == (403, b"blocked: this address is blocked\n")
        assert await early.receive_end() == b""
        for _ in range(2):
            async with house.wire(THERE) as late:
                assert await late.receive_end() == b""
        assert house.server.statistics().refused == 2
        assert (await shake_hands(open_one)).status == 101
        house.blocked.remove(THERE)
        async with house.wire(THERE) as again:
            assert (await shake_hands(again)).status == 101


async def test_a_blocked_client_of_a_proxy_gets_403_at_every_request_but_that_for_health() -> None:
    async with open_house(BEHIND) as house:
        house.blocked.add("203.0.113.7")
        behind = {"X-Forwarded-For": "203.0.113.7"}
        for method, target, status in (("GET", "/", 403), ("OPTIONS", "/", 403), ("GET", "/health", 200)):
            async with house.wire(PROXY) as wire:
                assert (await wire.ask(method, target, **behind)).status == status
        async with house.wire(PROXY) as wire:
            assert (await shake_hands(wire, "203.0.113.7")).status == 403


@pytest.mark.parametrize(("address", "makes_room"), [("203.0.113.7", True), ("203.0.113.8", False), (HERE, False)])
@pytest.mark.usefixtures("inline_threads")
async def test_one_address_cannot_have_all_visitors_places(
    address: str, makes_room: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy has many clients, and so may this machine; others are one visitor, or a few."""
    monkeypatch.setattr(server_module, "MOST_VISITORS_OF_ONE", 1)
    monkeypatch.setattr(server_module, "peer_address", lambda _stream: address)
    net = NetOptions(trusted_proxies=("203.0.113.8",))
    async with open_door(net=net) as door, open_stream(door) as one, open_stream(door) as two:
        await wait_all_tasks_blocked()
        if makes_room:
            assert await one.receive_end() == b""
        else:
            assert (await one.ask()).status == 200
        assert door.server.statistics().refused == int(makes_room)
        await two.send(upgrade())  # who has become a client needs no visitor's place any more
        assert (await two.reply()).status == 101
        async with open_stream(door) as three:
            assert (await three.ask()).status == 200


async def test_clients_at_an_address_that_is_blocked_meanwhile_are_hung_up_on() -> None:
    async with (
        open_house(BEHIND) as house,
        house.wire(PROXY) as bad,
        house.wire(PROXY) as good,
        house.wire(THERE) as direct,
    ):
        assert (await shake_hands(bad, "203.0.113.7")).status == 101
        assert (await shake_hands(good, "203.0.113.8")).status == 101
        assert (await shake_hands(direct)).status == 101
        house.blocked.add("203.0.113.7")
        house.blocked.add(THERE)
        house.server.close_blocked()
        for wire in (bad, direct):
            assert await wire.receive_close() == (1008, "blocked: this address is blocked")
            await wire.send(closing(1008))
            await wire.stream.aclose()
        await house.left("blocked", 2)
        await good.send(message("REQ", "a", {"limit": 0}))
        assert await good.receive() == ["EOSE", "a"]
        assert house.server.statistics().connections == 1


async def test_a_trusted_proxy_itself_is_never_blocked() -> None:
    async with open_house(BEHIND) as house, house.wire(PROXY) as proxy:
        house.blocked.add("0.0.0.0/0")
        assert (await proxy.ask()).status == 200
        assert (await shake_hands(proxy)).status == 101
        house.server.close_blocked()
        await proxy.send(message("REQ", "a", {"limit": 0}))
        assert await proxy.receive() == ["EOSE", "a"]
        async with house.wire(PROXY) as other:
            assert (await shake_hands(other, "203.0.113.7")).status == 403


async def test_one_connection_too_many_of_an_address_is_answered_429_until_another_leaves() -> None:
    async with open_house(NetOptions(max_connections_per_address=1)) as house, house.wire(THERE) as other:
        async with house.wire(HERE) as first, house.wire(HERE) as second:
            assert (await shake_hands(first)).status == 101
            reply = await shake_hands(second)
            assert (reply.status, reply.headers["retry-after"], reply.headers["connection"]) == (429, "30", "close")
            assert reply.body == b"too many connections from this address\n"
            assert await second.receive_end() == b""
            assert house.server.statistics().refused == 1
            assert (await shake_hands(other)).status == 101
        await house.left("lost")
        async with house.wire(HERE) as third:
            assert (await shake_hands(third)).status == 101


async def test_clients_behind_a_proxy_are_counted_by_their_own_addresses() -> None:
    net = NetOptions(max_connections_per_address=1, trusted_proxies=(PROXY,))
    froms = ["203.0.113.7", "203.0.113.8", "203.0.113.7", "2001:db8::1", "2001:db8::2", None, None]
    async with open_house(net) as house, trio.open_nursery() as nursery:
        statuses = []
        for forwarded in froms:
            wire = await nursery.start(hold, house)
            statuses.append((await shake_hands(wire, forwarded)).status)
        assert statuses == [101, 101, 429, 101, 429, 101, 101]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("share", [101, 429, 429, 101, 101]), ("refuse", [403, 403, 403, 101, 101])],
)
async def test_clients_of_whom_a_proxy_tells_no_address_share_the_places_of_one_or_are_refused(
    setting: Literal["share", "refuse"], expected: list[int]
) -> None:
    net = NetOptions(max_connections_per_address=1, trusted_proxies=(PROXY,), unknown_clients=setting)
    async with open_house(net) as house, trio.open_nursery() as nursery:
        statuses = []
        for forwarded in ("unknown", "_hidden", "1.2.3, 127.0.0.3", "203.0.113.7", None):
            wire = await nursery.start(hold, house)
            statuses.append((await shake_hands(wire, forwarded)).status)
        assert statuses == expected
        async with house.wire(PROXY) as checker:
            assert (await checker.ask(target="/health", X_Forwarded_For="unknown")).status == 200
        nursery.cancel_scope.cancel()


async def hold(house: House, *, task_status: trio.TaskStatus[Wire]) -> None:
    async with house.wire(PROXY) as wire:
        task_status.started(wire)
        await trio.sleep_forever()


@pytest.mark.usefixtures("inline_threads")
async def test_who_is_blocked_between_the_handshake_and_the_first_message_is_hung_up_on(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = addresses.AddressList()
    monkeypatch.setattr(server_module, "peer_address", lambda _stream: THERE)
    async with open_door() as door, open_stream(door, lockstep_stream_pair) as wire:
        monkeypatch.setattr(door.server, "_is_blocked", lambda address: blocked.covers(address, NOW))
        await wire.send(upgrade())  # and does not read the answer yet
        await wait_all_tasks_blocked()
        blocked.add(THERE)
        door.server.close_blocked()
        assert (await wire.reply()).status == 101
        assert await wire.receive_close() == (1008, "blocked: this address is blocked")
