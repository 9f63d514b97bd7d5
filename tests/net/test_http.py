"""HTTP at the door: what is well-formed is answered, what is not is refused with the right status."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import structlog
import trio
from trio.testing import MockClock, lockstep_stream_pair, memory_stream_pair

from tests.support.server import open_door
from tests.support.wire import Wire, open_stream, request
from trio_relay import NetOptions
from trio_relay.net import http_responses
from trio_relay.net.http import Request, Upgrade, converse
from trio_relay.version import __version__

pytestmark = pytest.mark.usefixtures("inline_threads")

LONG = "x" * 20_000


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param([b"HELLO\r\n\r\n"], 400, id="no HTTP"),
        pytest.param([b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"], 400, id="TLS"),
        pytest.param([b"GET / HTTP/1.1\r\n\r\n"], 400, id="no Host"),
        pytest.param([b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"], 400, id="two Hosts"),
        pytest.param([b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"], 400, id="bad length"),
        pytest.param([b"GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n"], 400, id="bad header"),
        pytest.param([request(headers={"A": LONG})], 431, id="long head in one piece"),
        pytest.param([b"GET /", b"x" * 9_000, b"x" * 9_000], 431, id="long head in pieces"),
        pytest.param([b"GET / HTTP/1.1\r\nHost: a\r\n", b"A: 1\r\n" * 5_000], 431, id="many headers"),
        pytest.param([b"GET / HTTP/1.1\r\nHost: a\r\n", b"A: 1\r\n" * 100, b"\r\n"], 431, id="101 headers"),
    ],
)
async def test_a_bad_request_is_refused_and_the_connection_ends(
    sent: list[bytes], status: int, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door() as door, open_stream(door) as wire:
        for data in sent:
            await wire.send(data)
        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert await wire.receive_end() == b""
        assert trio.current_time() == 0
        [line] = logged
        assert line.pop("reason")
        assert line == {"event": "request refused", "address": "unknown", "status": status, "log_level": "debug"}


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_a_handshake_that_does_not_come_in_time_is_answered_408(sent: bytes, autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(sent)
        assert (await wire.reply()).status == 408
        assert trio.current_time() == 10
        assert await wire.receive_end() == b""


async def test_dripping_bytes_do_not_win_time(autojump_clock: MockClock) -> None:
    async with open_door(net=NetOptions(handshake_seconds=3)) as door, open_stream(door) as wire:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip, wire)
            assert (await wire.reply()).status == 408
            nursery.cancel_scope.cancel()
        assert trio.current_time() == 3


async def drip(wire: Wire) -> None:
    for byte in request():
        await wire.send(bytes([byte]))
        await trio.sleep(0.5)


async def test_requests_on_one_connection_each_have_their_time(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        for number in range(5):
            await trio.sleep(9)
            assert (await wire.ask(target="/health" if number % 2 else "/")).status == 200
        assert (await wire.reply()).status == 408
        assert trio.current_time() == 5 * 9 + 10


async def test_pipelined_requests_are_answered_in_order(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(request(), request(target="/health"), request("HEAD"), request(target="/nothing"))
        replies = [await wire.reply(), await wire.reply(), await wire.reply("HEAD"), await wire.reply()]
        assert [reply.status for reply in replies] == [200, 200, 200, 404]
        assert [reply.body for reply in replies[:3]] == [b"hello\n", b'{"status":"ok"}', b""]


@pytest.mark.parametrize(
    "sent", [request(headers={"Connection": "close"}), b"GET / HTTP/1.0\r\n\r\n"], ids=["close", "HTTP/1.0"]
)
async def test_a_client_that_asks_for_one_answer_gets_one(sent: bytes, autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(sent)
        assert (await wire.reply()).status == 200
        assert await wire.receive_end() == b""
        assert trio.current_time() == 0


async def test_answers_name_the_program(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        assert (await wire.ask()).headers["server"] == f"trio-relay/{__version__}"


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
async def test_a_client_that_leaves_before_it_asked_is_no_failure(sent: bytes, autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(sent)
        assert isinstance(wire.stream, trio.StapledStream)
        await wire.stream.send_eof()
        await wire.receive_end()
        assert trio.current_time() == 0


@pytest.mark.parametrize("sent", [request(), b"HELLO\r\n\r\n"], ids=["answer", "refusal"])
async def test_a_client_that_does_not_take_what_it_is_told_is_cut_off(sent: bytes, autojump_clock: MockClock) -> None:
    async with open_door(net=NetOptions(handshake_seconds=3)) as door, open_stream(door, lockstep_stream_pair) as wire:
        await wire.send(sent)
        await trio.sleep(3.01)
        with pytest.raises(trio.BrokenResourceError):
            await wire.send(b"anyone there?")
        assert trio.current_time() == 3.01


class TestConverse:
    """The conversation without a relay behind it."""

    async def test_repeated_headers_are_joined_and_the_query_is_no_part_of_the_path(self) -> None:
        seen = await heard(b"POST /a/b?c=d HTTP/1.1\r\nHost: x\r\nA: 1\r\na: 2\r\nContent-Length: 2\r\n\r\nhi")
        assert (seen.method, seen.path, seen.target, seen.body) == ("POST", "/a/b", "/a/b?c=d", b"hi")
        assert seen.headers == {"host": "x", "a": "1,2", "content-length": "2"}
        assert seen.raw_headers == [("host", "x"), ("a", "1"), ("a", "2"), ("content-length", "2")]

    @pytest.mark.parametrize(
        ("method", "upgrade", "wanted"),
        [
            ("GET", "websocket", True),
            ("GET", "WebSocket", True),
            ("GET", "h2c, websocket", True),
            ("GET", "h2c", False),
            ("GET", "websockets", False),
            ("POST", "websocket", False),
        ],
    )
    async def test_a_websocket_is_wanted_by_a_get_that_names_it(self, method: str, upgrade: str, wanted: bool) -> None:
        seen = await heard(request(method, headers={"Upgrade": upgrade}))
        assert seen.wants_websocket == wanted

    async def test_a_handed_over_connection_keeps_what_was_read_of_it(self) -> None:
        near, far = memory_stream_pair()

        async def hand_over(_: Request) -> http_responses.Response | None:
            return None

        await near.send_all(request(headers={"Upgrade": "websocket", "Connection": "Upgrade"}) + b"rest")
        upgrade = await converse(far, hand_over, 10)
        assert isinstance(upgrade, Upgrade)
        assert upgrade.rest == b"rest"
        assert upgrade.request.wants_websocket

    async def test_an_answer_without_content_has_no_length(self) -> None:
        near, far = memory_stream_pair()

        async def nothing(_: Request) -> http_responses.Response | None:
            return http_responses.Response(204)

        await near.send_all(request(headers={"Connection": "close"}))
        assert await converse(far, nothing, 10) is None
        headers = (await Wire(near).reply()).headers
        assert "content-length" not in headers
        assert "content-type" not in headers


async def heard(sent: bytes) -> Request:
    """The request as the answering side sees it."""
    near, far = memory_stream_pair()
    seen: list[Request] = []

    async def answer(request: Request) -> http_responses.Response | None:
        seen.append(request)
        return http_responses.Response(200)

    await near.send_all(sent)
    await near.send_eof()
    with trio.fail_after(5):
        await converse(far, answer, 10, takes_body=lambda _: True)
    return seen[0]


async def test_pieces_follow_one_another_in_chunks_and_the_connection_goes_on() -> None:
    async def answer(asked: Request) -> http_responses.Response:
        return (
            http_responses.StreamedResponse(200, b"first ", pieces=pieces)
            if asked.path == "/long"
            else http_responses.Response(200, b"short")
        )

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield b"second "
        yield b"third"

    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(converse, server, answer, 10)
        wire = Wire(client)
        await wire.send(request(target="/long"))
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data += await client.receive_some()
        assert data.partition(b"\r\n\r\n")[2] == b"6\r\nfirst \r\n7\r\nsecond \r\n5\r\nthird\r\n0\r\n\r\n"
        assert (await wire.ask(target="/short")).body == b"short"
        await client.aclose()


async def test_who_does_not_take_a_piece_in_time_gets_no_more_and_the_pieces_are_closed(
    autojump_clock: MockClock,
) -> None:
    closed = trio.Event()

    async def answer(_asked: Request) -> http_responses.Response:
        return http_responses.StreamedResponse(200, pieces=pieces)

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                yield b"x"
                await trio.sleep(1)
        finally:
            closed.set()

    client, server = lockstep_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(converse, server, answer, 10)
        await client.send_all(request())
        while b"1\r\nx" not in await client.receive_some():
            pass
        await closed.wait()
        assert trio.current_time() == 11


async def test_pieces_have_no_answer_to_head() -> None:
    async def answer(_asked: Request) -> http_responses.Response:
        return http_responses.StreamedResponse(200, pieces=pieces)

    async def pieces() -> AsyncGenerator[bytes, None]:
        raise AssertionError("nobody has asked for them")
        yield b""

    client, server = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(converse, server, answer, 10)
        await client.send_all(request("HEAD"))
        assert (await client.receive_some()).endswith(b"\r\n\r\n")
        await client.aclose()
