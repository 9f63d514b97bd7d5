"""Connections that proxies pass on by the PROXY protocol: who the client is, and who may say so."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.authority import certified, over_tls
from tests.support.proxies import header
from tests.support.server import Door, open_door
from tests.support.wire import Wire, open_stream, upgrade
from trio_relay import NetOptions
from trio_relay.net import listeners, tls
from trio_relay.net import server as server_module

pytestmark = pytest.mark.usefixtures("inline_threads")

PROXIED = listeners.Preamble(proxy=True)
PROXY = "10.0.0.1"
CLIENT = "203.0.113.7"
NET: dict[str, Any] = {"trusted_proxies": ("10.0.0.0/8",)}


async def status_of(door: Door, peers: list[str], told: bytes, **headers: str) -> int | None:
    """What a proxy gets for a handshake behind a header; None: the connection was closed without a word."""
    peers.append(PROXY)
    async with open_stream(door) as wire:
        await wire.send(told, upgrade(**headers))
        with trio.fail_after(60):
            first = await wire.stream.receive_some()
        return int(first[9:12]) if first else None


async def test_the_client_is_who_the_header_says(peers: list[str]) -> None:
    net = NetOptions(**NET, max_connections_per_address=1)
    async with open_door(net=net, preamble=PROXIED) as door:
        peers += [PROXY] * 4
        async with open_stream(door) as first, open_stream(door) as second, open_stream(door) as third:
            statuses = []
            for wire, client in ((first, CLIENT), (second, CLIENT), (third, "203.0.113.8")):
                await wire.send(header(client), upgrade())
                statuses.append((await wire.reply()).status)
            assert statuses == [101, 429, 101]


async def test_it_may_come_byte_by_byte(peers: list[str]) -> None:
    async with open_door(net=NetOptions(**NET), preamble=PROXIED) as door:
        peers.append(PROXY)
        async with open_stream(door) as wire:
            for byte in header(CLIENT, fields=b"\x20\x00\x02ab"):
                await wire.send(bytes([byte]))
            assert (await wire.ask()).status == 200


async def test_tls_comes_behind_it(peers: list[str]) -> None:
    both = listeners.Preamble(proxy=True, tls=True)
    async with open_door(net=NetOptions(**NET), preamble=both, tls=tls.Tls(certified())) as door:
        peers.append(PROXY)
        stream = await door.listener.connect()
        await stream.send_all(header(CLIENT))
        wire = Wire(over_tls(stream))
        assert (await wire.ask()).status == 200
        await trio.aclose_forcefully(stream)


async def test_who_is_blocked_is_blocked_behind_a_proxy_too(peers: list[str]) -> None:
    async with open_door(net=NetOptions(**NET), preamble=PROXIED) as door:
        door.relay.rules.take_options(type(door.relay.rules.options)(denied_addresses=(CLIENT,)))
        door.server.take_options(NetOptions(**NET))
        assert await status_of(door, peers, header(CLIENT)) is None
        assert await status_of(door, peers, header("203.0.113.8")) == 101
        assert door.server.statistics().refused == 1


async def test_of_a_client_that_is_a_trusted_proxy_itself_the_header_of_http_counts(peers: list[str]) -> None:
    net = NetOptions(**NET, max_connections_per_address=1)
    async with open_door(net=net, preamble=PROXIED) as door:
        peers += [PROXY] * 2
        async with open_stream(door) as first, open_stream(door) as second:
            statuses = []
            for wire in (first, second):
                await wire.send(header("10.0.0.9"), upgrade(X_Forwarded_For=CLIENT))
                statuses.append((await wire.reply()).status)
            assert statuses == [101, 429]


async def test_the_header_of_http_of_any_other_does_not(peers: list[str]) -> None:
    async with open_door(net=NetOptions(**NET), preamble=PROXIED) as door:
        door.relay.rules.take_options(type(door.relay.rules.options)(denied_addresses=("198.51.100.1",)))
        door.server.take_options(NetOptions(**NET))
        assert await status_of(door, peers, header(CLIENT), X_Forwarded_For="198.51.100.1") == 101


async def test_a_proxy_may_speak_for_itself(peers: list[str]) -> None:
    net = NetOptions(**NET, max_connections_per_address=1)
    async with open_door(net=net, preamble=PROXIED) as door:
        peers += [PROXY] * 2
        async with open_stream(door) as first, open_stream(door) as second:
            for wire in (first, second):
                await wire.send(header("", is_local=True), upgrade())
                assert (await wire.reply()).status == 101


@pytest.mark.parametrize(("unknown", "expected"), [("share", [101, 429]), ("refuse", [403, 403])])
async def test_clients_whose_address_it_does_not_know_are_one(
    unknown: Literal["share", "refuse"], expected: list[int], peers: list[str]
) -> None:
    net = NetOptions(**NET, max_connections_per_address=1, unknown_clients=unknown)
    async with open_door(net=net, preamble=PROXIED) as door:
        peers += [PROXY] * 2
        async with open_stream(door) as first, open_stream(door) as second:
            statuses = []
            for wire in (first, second):
                await wire.send(header(""), upgrade())
                statuses.append((await wire.reply()).status)
            assert statuses == expected


@pytest.mark.parametrize("told", [header(CLIENT), b""])
async def test_nobody_but_a_trusted_proxy_is_heard(told: bytes, peers: list[str]) -> None:
    async with open_door(net=NetOptions(**NET), preamble=PROXIED) as door:
        peers.append("198.51.100.1")
        async with open_stream(door) as wire:
            await wire.send(told, upgrade())
            assert await wire.receive_end() == b""
        assert door.server.statistics().refusals.requests == {"unanswered": 1}


@pytest.mark.parametrize("told", [b"", b"PROXY TCP4 203.0.113.7 10.0.0.1 50123 443\r\n"])
async def test_a_trusted_proxy_has_to_send_one(told: bytes, peers: list[str]) -> None:
    async with open_door(net=NetOptions(**NET), preamble=PROXIED) as door:
        assert await status_of(door, peers, told) is None
        assert door.server.statistics().refusals.requests == {"unanswered": 1}


async def test_where_none_is_asked_for_one_is_no_request(peers: list[str]) -> None:
    async with open_door(net=NetOptions(**NET)) as door:
        assert await status_of(door, peers, header(CLIENT)) == 400


async def test_it_has_its_time(peers: list[str], autojump_clock: MockClock) -> None:
    async with open_door(net=NetOptions(**NET), preamble=PROXIED) as door:
        peers.append(PROXY)
        async with open_stream(door) as wire:
            await wire.send(header(CLIENT)[:-1])
            assert await wire.receive_end() == b""
            assert trio.current_time() == NetOptions().handshake_seconds


async def test_who_only_knocks_is_nothing_to_speak_of(peers: list[str]) -> None:
    async with open_door(net=NetOptions(**NET), preamble=PROXIED) as door:
        peers.append(PROXY)
        async with open_stream(door):
            pass
        await wait_all_tasks_blocked()
        assert door.server.statistics().refusals.requests == {}


async def test_clients_of_one_address_have_the_places_of_one(
    peers: list[str], autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MOST_VISITORS_OF_ONE", 1)
    async with open_door(net=NetOptions(**NET), preamble=PROXIED) as door:
        peers += [PROXY] * 3
        async with open_stream(door) as first, open_stream(door) as second, open_stream(door) as other:
            await first.send(header(CLIENT))
            await trio.sleep(1)
            await other.send(header("203.0.113.8"))
            await second.send(header(CLIENT))
            assert await first.receive_end() == b""
            for wire in (second, other):
                assert (await wire.ask()).status == 200
