"""NIP-86: blocked addresses, on real sockets, with and without a proxy in between."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from tests.support.keys import NOW
from tests.support.named_relay import URL, rules_for
from tests.support.operators import ADMIN, BY_ADMIN, Clock, Operator, managed, operator
from tests.support.wire import Reply, Wire, message, upgrade
from trio_relay import AdminApi, Endpoints, MemoryStore, NetOptions, Server, bound_address, open_listeners, open_relay

HERE, THERE, PROXY = "127.0.0.1", "127.0.0.2", "127.0.0.3"
BLOCKED = (1008, "blocked: this address is blocked")


class House:
    """A managed relay on a port of its own, which can be reached from several addresses of this machine."""

    def __init__(self, clock: Clock, port: int) -> None:
        self.clock = clock
        self._port = port

    @asynccontextmanager
    async def wire(self, address: str) -> AsyncIterator[Wire]:
        """A connection from this address."""
        async with await trio.open_tcp_stream(HERE, self._port, local_address=address) as stream:
            yield Wire(stream)

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Operator]:
        """The admin, who calls from `HERE`."""
        async with self.wire(HERE) as wire:
            yield Operator(wire, url=URL)


@asynccontextmanager
async def open_house(**policy: Any) -> AsyncIterator[House]:
    clock, rules = Clock(), rules_for(admins=(ADMIN.pubkey,), **policy)
    with trio.fail_after(10):
        async with open_relay(MemoryStore(), rules=rules, clock=clock) as relay, trio.open_nursery() as nursery:
            front = Endpoints(relay.document, relay.check, "hello\n", AdminApi(relay))
            server = Server(relay, front, NetOptions(trusted_proxies=(PROXY,)))
            listeners, stop = await open_listeners(f"{HERE}:0"), trio.Event()
            await nursery.start(server.serve, listeners, stop)
            yield House(clock, int(bound_address(listeners[0]).rpartition(":")[2]))
            stop.set()


async def enter(wire: Wire, forwarded: str | None = None) -> Reply:
    """Become a WebSocket, if that may be."""
    await wire.send(upgrade(X_Forwarded_For=forwarded))
    reply = await wire.reply()
    if reply.status == 101:
        assert (await wire.receive())[0] == "AUTH"
    return reply


async def is_answered(wire: Wire) -> bool:
    await wire.send(message("REQ", "a", {"limit": 0}))
    return await wire.receive() == ["EOSE", "a"]


async def test_who_is_blocked_is_hung_up_on_at_once_and_not_let_in_again() -> None:
    async with open_house() as house, house.admin() as admin, house.wire(THERE) as bad, house.wire(HERE) as good:
        for wire in (bad, good):
            assert (await enter(wire)).status == 101
        assert await admin.call("blockip", THERE, "a flood") is True
        assert await bad.receive_close() == BLOCKED
        assert await is_answered(good)
        async with house.wire(THERE) as again:
            assert await again.receive_end() == b""
        assert await admin.call("listblockedips") == [{"ip": THERE, "reason": "a flood", **BY_ADMIN}]
        assert await admin.call("unblockip", THERE) is True
        async with house.wire(THERE) as again:
            assert (await enter(again)).status == 101


async def test_a_network_can_be_blocked() -> None:
    async with open_house() as house, house.admin() as admin, house.wire(THERE) as bad:
        await enter(bad)
        assert await admin.call("blockip", "127.0.0.2/31") is True
        assert await bad.receive_close() == BLOCKED


async def test_a_block_with_an_end_ends() -> None:
    async with open_house() as house, house.admin() as admin:
        assert await admin.call("blockip", THERE, "", NOW + 60) is True
        house.clock.now = NOW + 59
        async with house.wire(THERE) as wire:
            assert await wire.receive_end() == b""
        house.clock.now = NOW + 60
        async with house.wire(THERE) as wire:
            assert (await enter(wire)).status == 101


async def test_behind_a_proxy_the_client_is_blocked_and_not_the_proxy() -> None:
    async with open_house() as house, house.admin() as admin, house.wire(PROXY) as bad, house.wire(PROXY) as good:
        assert (await enter(bad, "203.0.113.7")).status == 101
        assert (await enter(good, "203.0.113.8")).status == 101
        await admin.call("blockip", "203.0.113.7")
        assert await bad.receive_close() == BLOCKED
        assert await is_answered(good)
        await admin.call("blockip", PROXY)
        assert await is_answered(good)
        async with house.wire(PROXY) as other, house.wire(PROXY) as itself, house.wire(PROXY) as again:
            assert (await enter(other, "203.0.113.9")).status == 101
            assert (await enter(itself)).status == 101
            assert (await enter(again, "203.0.113.7")).status == 403


async def test_who_only_says_that_he_is_a_proxy_is_blocked_by_his_own_address() -> None:
    async with open_house() as house, house.admin() as admin:
        async with house.wire(THERE) as liar:
            assert (await enter(liar, "203.0.113.7")).status == 101
            await admin.call("blockip", THERE)
            assert await liar.receive_close() == BLOCKED
        await admin.call("blockip", "203.0.113.7")
        async with house.wire(HERE) as framed:
            assert (await enter(framed, "203.0.113.7")).status == 101


async def test_nobody_shuts_himself_out() -> None:
    async with open_house() as house, house.admin() as admin:
        refusal = f"restricted: you call from there yourself, {HERE}"
        for place in (HERE, "127.0.0.0/8", "0.0.0.0/0", f"::ffff:{HERE}"):
            assert await admin.refusal("blockip", place) == refusal
        assert await admin.call("listblockedips") == []


async def test_addresses_of_the_configuration_are_blocked_and_stay_so() -> None:
    async with open_house(denied_addresses=("127.0.0.2/31",)) as house, house.admin() as admin:
        async with house.wire(THERE) as wire:
            assert await wire.receive_end() == b""
        denied = {"ip": "127.0.0.2/31", "reason": "configured (policy.denied_addresses)"}
        assert await admin.call("listblockedips") == [denied]
        refusal = "restricted: the configuration says otherwise (policy.denied_addresses)"
        assert await admin.refusal("unblockip", "127.0.0.2/31") == refusal


@pytest.mark.parametrize(
    ("written", "listed"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7/32", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:DB8::1", "2001:db8::/64"),
        ("2001:db8::/32", "2001:db8::/32"),
    ],
)
async def test_one_address_is_listed_once_however_it_is_written(written: str, listed: str) -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        for place in (written, listed):
            await admin.call("blockip", place)
        assert await admin.call("listblockedips") == [{"ip": listed, "reason": "", **BY_ADMIN}]
        await admin.call("unblockip", written)
        assert await admin.call("listblockedips") == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("relay.example", ": 'relay.example' does not appear to be an IPv4 or IPv6 address"),
        ("203.0.113.7/24", ": 203.0.113.7/24 has host bits set"),
        ("unknown", ": 'unknown' does not appear to be an IPv4 or IPv6 address"),
        ("", ", a text of 1 to 200 characters"),
        (7, ", a text of 1 to 200 characters"),
    ],
)
async def test_what_is_no_address_is_refused(given: object, told: str) -> None:
    async with managed(MemoryStore()) as door, operator(door) as admin:
        refusal = f"invalid: parameter 1 of blockip must be an IP address or network{told}"
        assert await admin.refusal("blockip", given) == refusal


async def test_a_call_from_a_blocked_address_is_not_answered() -> None:
    async with open_house() as house, house.admin() as admin, house.wire(THERE) as wire:
        await admin.call("blockip", THERE)
        reply = await Operator(wire).ask("unblockip", THERE)
        assert (reply.status, json.loads((await admin.ask("listblockedips")).body)["result"][0]["ip"]) == (403, THERE)
