"""Bodies of HTTP requests: read where an operator calls, and nowhere else; bounded in bytes and in pieces."""

from __future__ import annotations

from collections.abc import Mapping

import h11
import pytest
import structlog
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from tests.support.operators import managed
from tests.support.server import open_door, socket_pair
from tests.support.wire import Reply, Wire, open_stream, request, upgrade
from trio_relay import MemoryStore
from trio_relay.net import http, http_responses

pytestmark = pytest.mark.usefixtures("inline_threads")

CHUNKED = {"Transfer-Encoding": "chunked"}
ASKING = {"Expect": "100-continue"}


def crumbs(count: int) -> bytes:
    """A body in chunks of a byte each."""
    return b"1\r\nx\r\n" * count + b"0\r\n\r\n"


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """All that the HTTP parser has found, in order."""
    found: list[object] = []
    original = h11.Connection.next_event

    def next_event(connection: h11.Connection) -> object:
        found.append(original(connection))
        return found[-1]

    monkeypatch.setattr(h11.Connection, "next_event", next_event)
    return found


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/", 405),
        ("POST", "/health", 405),
        ("POST", "/nothing", 404),
        ("PUT", "/", 405),
        ("GET", "/", 200),
        ("GET", "/health", 200),
        ("OPTIONS", "/", 204),
    ],
)
@pytest.mark.parametrize("form", ["chunks", "length", "asking"])
async def test_a_body_that_nobody_reads_is_not_read(
    method: str, target: str, status: int, form: str, autojump_clock: MockClock, parsed: list[object]
) -> None:
    headers: dict[str, Mapping[str, str]] = {
        "chunks": CHUNKED,
        "length": {"Content-Length": "60000"},
        "asking": ASKING | {"Content-Length": "60000"},
    }
    body = {"chunks": crumbs(10_000), "length": b"x" * 60_000, "asking": b""}
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(request(method, target, headers[form]), body[form])
        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert await wire.receive_end() == b""
        assert trio.current_time() == 0
    assert [type(event) for event in parsed] == [h11.Request]


async def test_where_nobody_manages_elsewhere_is_nothing_read_either(
    autojump_clock: MockClock, parsed: list[object]
) -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        await wire.send(request("POST", "/health", CHUNKED), crumbs(10_000))
        assert (await wire.reply()).status == 405
        assert await wire.receive_end() == b""
    assert [type(event) for event in parsed] == [h11.Request]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        pytest.param({}, b"x" * 65_536, 415, id="as long as one may be"),
        pytest.param({}, b"x" * 65_537, 413, id="too long"),
        pytest.param(CHUNKED, crumbs(512), 415, id="as many pieces as there may be"),
        pytest.param(CHUNKED, crumbs(513), 413, id="too many pieces"),
        pytest.param(CHUNKED, b"4000\r\n%b\r\n" % (b"x" * 0x4000) * 5, 413, id="too long, of unknown length"),
        pytest.param(CHUNKED, b"1;%b\r\nx\r\n" % (b"e" * 3_000) * 200, 413, id="long extensions of chunks"),
        pytest.param(CHUNKED, b"0\r\n" + b"A: 1\r\n" * 10_000, 431, id="long trailers"),
        pytest.param(CHUNKED, b"1\nx\r\n0\r\n\r\n", 400, id="a bare line feed"),
        pytest.param(CHUNKED, b"x\r\n", 400, id="no chunk"),
        pytest.param(ASKING | {"Content-Length": "65537"}, b"", 413, id="asking to send too much"),
    ],
)
async def test_a_body_that_is_read_is_bounded(
    headers: Mapping[str, str], body: bytes, status: int, autojump_clock: MockClock
) -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        if not headers:
            headers = {"Content-Length": str(len(body))}
        await wire.send(request("POST", "/", headers), body)
        assert (await wire.reply()).status == status


async def test_others_have_their_turns_between_the_pieces_of_a_body(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if each piece took three milliseconds."""
    times = iter(0.003 * number for number in range(10_000))
    monkeypatch.setattr(trio, "current_time", lambda: next(times))
    near, far = memory_stream_pair()
    turns, is_over = 0, False

    async def answer(_: http.Request) -> http_responses.Response | None:
        return http_responses.Response(200)

    async def wait() -> None:
        nonlocal turns
        while not is_over:
            await trio.lowlevel.checkpoint()
            turns += 1

    await near.send_all(request("POST", "/", CHUNKED) + crumbs(200))
    await near.send_eof()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        assert await http.converse(far, answer, 10_000, takes_body=lambda _: True) is None
        is_over = True
    assert turns >= 200
    assert (await Wire(near).reply()).status == 200


async def test_a_body_that_is_read_leaves_what_comes_after_it(autojump_clock: MockClock) -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        await wire.send(request("POST", body=b"abc"), request("POST", "/", CHUNKED), crumbs(3), request())
        assert [(await wire.reply()).status for _ in range(3)] == [415, 415, 200]


async def test_a_client_that_asks_before_it_posts_a_body_is_told_to_go_on(autojump_clock: MockClock) -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        for _ in range(2):
            await wire.send(request("POST", headers=ASKING | {"Content-Length": "3"}))
            assert await wire.reply() == Reply(100, {}, b"")
            await wire.send(b"abc")
            assert (await wire.reply()).status == 415
        await wire.send(request("POST", headers=ASKING, body=b"abc"))  # it does not wait
        assert (await wire.reply()).status == 415


@pytest.mark.parametrize("headers", [{"Content-Length": "5"}, ASKING | {"Content-Length": "5"}, CHUNKED])
async def test_a_head_with_a_body_gets_the_head_of_its_answer(
    headers: Mapping[str, str], autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(request("HEAD", "/", headers))
        reply = await wire.reply("HEAD")
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert await wire.receive_end() == b""
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == []


async def test_a_handshake_with_a_body_is_none(autojump_clock: MockClock) -> None:
    """Else the body would be taken for frames."""
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(upgrade(Content_Length="5"), b"hello")
        assert (await wire.reply()).status == 400
        assert await wire.receive_end() == b""
        assert door.server.statistics().accepted == 0


async def test_a_body_that_does_not_come_in_time_is_answered_408(autojump_clock: MockClock) -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        await wire.send(request("POST", headers={"Content-Length": "5"}), b"abc")
        assert (await wire.reply()).status == 408
        assert trio.current_time() == 10


async def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_failure(
    autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        await wire.send(request("POST", headers={"Content-Length": "5"}), b"abc")
        assert isinstance(wire.stream, trio.StapledStream)
        await wire.stream.send_eof()
        assert await wire.receive_end() == b""
        assert trio.current_time() == 0
    assert [entry["event"] for entry in logged if entry["log_level"] == "error"] == []


async def test_a_client_that_is_answered_before_its_body_was_read_learns_the_answer() -> None:
    """A kernel that closes a connection with input unread resets it, and may drop what the client has not read yet."""
    async with open_door() as door, open_stream(door, socket_pair) as wire:
        with trio.fail_after(10):
            await wire.send(request("POST", headers={"Content-Length": "100000"}), b"x" * 50_000)
            await wire.send(b"x" * 50_000)
            assert (await wire.reply()).status == 405
            assert await wire.stream.receive_some() == b""  # not broken


async def test_a_client_that_goes_on_sending_is_cut_off(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(request("POST", headers=CHUNKED))
        assert (await wire.reply()).status == 405
        with pytest.raises(trio.BrokenResourceError):
            await send_crumbs(wire)
        assert trio.current_time() <= 1


async def send_crumbs(wire: Wire) -> None:
    for _ in range(1_000):
        await wire.send(b"1\r\nx\r\n" * 4_000)
        await wait_all_tasks_blocked()


async def test_unless_a_listener_takes_bodies_it_reads_none(autojump_clock: MockClock, parsed: list[object]) -> None:
    """As that of the metrics."""
    near, far = memory_stream_pair()

    async def answer(_: http.Request) -> http_responses.Response | None:
        return http_responses.Response(200)

    await near.send_all(request("POST", "/metrics", CHUNKED) + crumbs(10_000))
    assert await http.converse(far, answer, 10) is None
    assert (await Wire(near).reply()).headers["connection"] == "close"
    assert [type(event) for event in parsed] == [h11.Request]
