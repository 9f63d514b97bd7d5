"""The WebSocket handshake (RFC 6455, section 4.2), and how many are let in."""

from __future__ import annotations

import pytest
import structlog
import trio
from trio.testing import MockClock, lockstep_stream_pair, wait_all_tasks_blocked

from tests.support.server import open_door, socket_pair
from tests.support.wire import ACCEPT, closing, message, open_stream, open_wire, upgrade
from trio_relay import NetOptions

pytestmark = pytest.mark.usefixtures("inline_threads")


def more(sent: bytes, *lines: str) -> bytes:
    """A request with more header lines."""
    return sent.removesuffix(b"\r\n") + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"


ONE_ONLY = NetOptions(max_connections=1)


async def test_the_answer_proves_that_the_key_was_read(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(upgrade())
        reply = await wire.reply()
        assert reply.status == 101
        assert reply.headers["sec-websocket-accept"] == ACCEPT
        assert (reply.headers["upgrade"].lower(), reply.headers["connection"].lower()) == ("websocket", "upgrade")


async def test_no_unknown_extension_and_no_subprotocol_is_agreed_on(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(upgrade(Sec_WebSocket_Extensions="permessage-bzip2", Sec_WebSocket_Protocol="nostr"))
        reply = await wire.reply()
        assert reply.status == 101
        assert not {"sec-websocket-extensions", "sec-websocket-protocol"} & reply.headers.keys()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(upgrade(Sec_WebSocket_Version="12"), 400, id="other version"),
        pytest.param(upgrade(Sec_WebSocket_Version=None), 400, id="no version"),
        pytest.param(upgrade(Sec_WebSocket_Key=None), 400, id="no key"),
        pytest.param(upgrade(Sec_WebSocket_Key="c2hvcnQ="), 400, id="short key"),
        pytest.param(upgrade(Sec_WebSocket_Key="***"), 400, id="key that is not base64"),
        pytest.param(upgrade(Connection="keep-alive"), 426, id="no upgrade of the connection"),
        pytest.param(upgrade(Connection="x-upgrade, upgrades"), 426, id="other options of the connection"),
        pytest.param(upgrade(Connection=""), 426, id="empty options"),
        pytest.param(upgrade(Sec_WebSocket_Extensions="permessage-deflate;"), 400, id="no extension at all"),
        pytest.param(more(upgrade(), "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400, id="two keys"),
        pytest.param(more(upgrade(), "Sec-WebSocket-Version: 8"), 400, id="two versions"),
    ],
)
async def test_a_bad_handshake_is_refused_and_the_connection_ends(
    sent: bytes, status: int, autojump_clock: MockClock
) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(sent)
        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert reply.headers["sec-websocket-version"] == "13"
        assert await wire.receive_end() == b""
        assert door.server.statistics().accepted == 0


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(upgrade(Upgrade="h2c, websocket"), id="several protocols"),
        pytest.param(upgrade(Upgrade=" ,, WebSocket\t,"), id="empty elements, letter case and blanks"),
        pytest.param(more(upgrade(Upgrade="h2c"), "upgrade: websocket"), id="protocols in two lines"),
        pytest.param(more(upgrade(Upgrade=""), "Upgrade: websocket"), id="an empty line of protocols"),
        pytest.param(upgrade(Connection="keep-alive, UPGRADE"), id="several options"),
        pytest.param(more(upgrade(Connection="keep-alive"), "Connection: ,upgrade"), id="options in two lines"),
        pytest.param(more(upgrade(Connection=""), "Connection: Upgrade"), id="an empty line of options"),
        pytest.param(upgrade(Sec_WebSocket_Extensions=""), id="no extensions"),
        pytest.param(upgrade(Sec_WebSocket_Extensions=" , ,"), id="an empty list of extensions"),
        pytest.param(upgrade(Sec_WebSocket_Protocol=""), id="no subprotocols"),
        pytest.param(upgrade(Sec_WebSocket_Protocol=" ,nostr;"), id="subprotocols that are none"),
        pytest.param(upgrade(Sec_WebSocket_Version=" 13\t"), id="blanks around the version"),
        pytest.param(more(upgrade(Origin="https://a.example"), "Origin: null"), id="two origins"),
        pytest.param(upgrade("http://memory/"), id="absolute form"),
        pytest.param(upgrade("WSS://memory:7777?a=/b"), id="absolute form without a path"),
    ],
)
async def test_what_http_lets_a_proxy_write_is_a_handshake_too(sent: bytes, autojump_clock: MockClock) -> None:
    """RFC 9110, sections 5.6.1 (lists) and 7.8 (Upgrade); RFC 6455, section 4.2.1."""
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(sent, message("REQ", "a", {"limit": 0}))
        reply = await wire.reply()
        assert (reply.status, reply.headers["sec-websocket-accept"]) == (101, ACCEPT)
        assert "sec-websocket-extensions" not in reply.headers
        assert await wire.receive() == ["EOSE", "a"]


async def test_an_extension_is_found_in_whatever_line_it_is_offered(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        lines = ("Sec-WebSocket-Extensions: ,", "Sec-WebSocket-Extensions: , permessage-deflate")
        await wire.send(more(upgrade(Sec_WebSocket_Extensions=""), *lines))
        assert "permessage-deflate" in (await wire.reply()).headers["sec-websocket-extensions"]


async def test_who_leaves_before_he_is_let_in_is_no_client(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door() as door:
        async with open_stream(door, socket_pair) as wire:
            await wire.send(upgrade())
        await wait_all_tasks_blocked()
        assert (door.server.statistics().accepted, door.server.statistics().close_reasons) == (0, {})
    assert [entry["event"] for entry in logged if entry["event"].startswith("connection")] == ["connection broken"]


async def test_frames_in_the_same_packet_as_the_handshake_are_read(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.open(message("REQ", "first", {"limit": 0}))
        assert await wire.receive() == ["EOSE", "first"]
        await wire.send(message("REQ", "second", {"limit": 0}))
        assert await wire.receive() == ["EOSE", "second"]


async def test_a_handshake_after_plain_requests_on_the_same_connection(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        assert (await wire.ask()).status == 200
        await wire.open(message("REQ", "a", {"limit": 0}))
        assert await wire.receive() == ["EOSE", "a"]


async def test_one_connection_too_many_is_answered_503_until_another_leaves(autojump_clock: MockClock) -> None:
    async with open_door(net=ONE_ONLY) as door:
        async with open_wire(door), open_stream(door) as second:
            await second.send(upgrade())
            reply = await second.reply()
            assert (reply.status, reply.headers["retry-after"], reply.headers["connection"]) == (503, "30", "close")
            assert await second.receive_end() == b""
            assert door.server.statistics().refused == 1
            async with open_stream(door) as identity:
                assert (await identity.ask(target="/health")).status == 200
        await wait_all_tasks_blocked()
        async with open_wire(door):
            assert door.server.statistics().accepted == 2


async def test_handshakes_at_the_same_time_do_not_slip_past_the_limit(autojump_clock: MockClock) -> None:
    async with (
        open_door(net=ONE_ONLY) as door,
        open_stream(door, lockstep_stream_pair) as first,
        open_stream(door) as second,
    ):
        await first.send(upgrade())  # and does not read the answer yet
        await wait_all_tasks_blocked()
        await second.send(upgrade())
        assert (await second.reply()).status == 503
        assert (await first.reply()).status == 101


async def test_who_does_not_take_the_handshakes_answer_frees_his_place(autojump_clock: MockClock) -> None:
    net = NetOptions(max_connections=1, handshake_seconds=3)
    async with (
        open_door(net=net) as door,
        open_stream(door, lockstep_stream_pair) as first,
    ):
        await first.send(upgrade())
        await trio.sleep(3.01)
        async with open_wire(door):
            assert door.server.statistics().connections == 1


async def test_a_connection_is_logged_with_its_number(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door() as door:
        for _ in range(2):
            async with open_wire(door) as wire:
                await wire.send(closing(1000))
                await wire.receive_end()
            await wait_all_tasks_blocked()
    told = [(entry["event"], entry.get("address"), entry.get("reason")) for entry in logged]
    assert told[:4] == [("connected", "unknown", None), ("disconnected", "unknown", "closed by client")] * 2
