"""Requests that RFC 9112 forbids, or that two readers could read in two ways: refused, before anything is done."""

from __future__ import annotations

import pytest
import structlog
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, memory_stream_pair

from tests.support.marks import examples
from tests.support.operators import managed
from tests.support.server import open_door
from tests.support.wire import HANDSHAKE, Wire, open_stream, request, upgrade
from trio_relay import MemoryStore
from trio_relay.net import http, http_responses, websocket

pytestmark = pytest.mark.usefixtures("inline_threads")

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, id="both kinds of length"),
        pytest.param(POST + b"transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n", 400, id="the other way round"),
        pytest.param(POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, id="a length twice"),
        pytest.param(POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, id="two lengths"),
        pytest.param(POST + b"Content-Length: 5, 5\r\n\r\nhello", 400, id="a list of lengths"),
        pytest.param(POST + b"Content-Length: +5\r\n\r\nhello", 400, id="a signed length"),
        pytest.param(POST + b"Content-Length: 0x5\r\n\r\nhello", 400, id="a length in hex"),
        pytest.param(POST + b"Content-Length:\r\n\r\n", 400, id="no length"),
        pytest.param(POST + b"Content-Length: " + b"9" * 21 + b"\r\n\r\n", 400, id="a length without end"),
        pytest.param(POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501, id="another coding"),
        pytest.param(
            POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501, id="a coding twice"
        ),
        pytest.param(
            b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, id="chunks by HTTP/1.0"
        ),
        pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", 400, id="bare line feeds"),
        pytest.param(HEAD + b"A: b\nC: d\r\n\r\n", 400, id="one bare line feed"),
        pytest.param(HEAD + b"\n", 400, id="a bare line feed at the end"),
        pytest.param(HEAD + b"A: b\rC: d\r\n\r\n", 400, id="a bare carriage return"),
        pytest.param(b"\r\n" + HEAD + b"\r\n", 400, id="an empty line in front"),
        pytest.param(b" " + HEAD + b"\r\n", 400, id="a blank in front"),
        pytest.param(HEAD + b"A: b\r\n c\r\n\r\n", 400, id="a folded line"),
        pytest.param(HEAD + b"A: b\r\n\tc\r\n\r\n", 400, id="a line folded by a tab"),
        pytest.param(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, id="a blank before the first header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, id="a blank before the colon"),
        pytest.param(HEAD + b"A\t: b\r\n\r\n", 400, id="a tab before the colon"),
        pytest.param(HEAD + b"no header\r\n\r\n", 400, id="a line without a colon"),
        pytest.param(HEAD + b": b\r\n\r\n", 400, id="a header without a name"),
        pytest.param(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="two blanks"),
        pytest.param(b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="a blank in the target"),
        pytest.param(b"GET /\r\n\r\n", 400, id="no version"),
        pytest.param(b"GET / http/1.1\r\nHost: a\r\n\r\n", 400, id="a version in lower case"),
        pytest.param(b"GET / HTTP/1.11\r\nHost: a\r\n\r\n", 400, id="a version of three digits"),
        pytest.param(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, id="HTTP/2.0"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, id="the preface of HTTP/2"),
        pytest.param(b"GET / HTTP/1.9\r\nHost: a\r\n\r\n", 505, id="HTTP/1.9"),
        pytest.param(b"GET / HTTP/1.2\r\n\r\n", 505, id="HTTP/1.2 without a Host"),
        pytest.param(b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, id="HTTP/0.9"),
        pytest.param(upgrade().replace(b"HTTP/1.1", b"HTTP/2.0"), 505, id="an upgrade by HTTP/2.0"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, id="two Hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, id="a list of Hosts"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, id="a path as Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: b@a\r\n\r\n", 400, id="a user as Host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400, id="no port"),
    ],
)
async def test_what_a_proxy_may_read_in_another_way_is_refused(
    sent: bytes, status: int, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    async with managed(MemoryStore()) as door, open_stream(door) as wire:
        await wire.send(sent)
        reply = await wire.reply()
        assert (reply.status, reply.headers["connection"]) == (status, "close")
        assert await wire.receive_end() == b""
        assert trio.current_time() == 0
    assert [line["log_level"] for line in logged if "refused" in line["event"]] == ["debug"]


@pytest.mark.parametrize("control", [0, 1, 8, 11, 12, 14, 27, 31, 127])
@pytest.mark.parametrize("name", [*HANDSHAKE, "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "User-Agent"])
async def test_a_control_character_in_a_handshake_is_a_bad_request(
    name: str, control: int, autojump_clock: MockClock, logged: list[structlog.typing.EventDict]
) -> None:
    value = (HANDSHAKE.get(name) or "x") + chr(control) + "[31m"
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(upgrade(**{name: value}))
        assert (await wire.reply()).status == 400
        assert await wire.receive_end() == b""
    assert [line["log_level"] for line in logged if "request" in line["event"]] == ["debug"]
    assert [line["event"] for line in logged if line["log_level"] not in ("debug", "info")] == []


@pytest.mark.parametrize(
    "host", ["", "a.example", "a:80", "a:", "[::1]:7777", "127.0.0.1", "xn--bcher-kva.example", "a_b"]
)
async def test_a_host_is_a_name_or_an_address(host: str, autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        assert (await wire.ask(Host=host)).status == 200


async def test_http_1_0_knows_no_upgrade(autojump_clock: MockClock) -> None:
    """RFC 9110, section 7.8: it is passed over. Proxies ask by it whether the relay is there."""
    async with open_door() as door, open_stream(door) as wire:
        await wire.send(upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await wire.reply()).status == 200
        assert await wire.receive_end() == b""
        assert door.server.statistics().accepted == 0


async def test_what_follows_a_refused_request_is_not_read(autojump_clock: MockClock) -> None:
    async with open_door() as door, open_stream(door) as wire:
        smuggled = request(target="/health")
        await wire.send(POST, b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n" % len(smuggled), smuggled)
        assert (await wire.reply()).status == 400
        assert await wire.receive_end() == b""


async def test_a_connection_ends_after_a_thousand_requests(autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()

    async def answer(_: http.Request) -> http_responses.Response | None:
        return http_responses.Response(204)

    await near.send_all(request() * 1_001)
    with trio.fail_after(60):
        assert await http.converse(far, answer, 10) is None
    wire = Wire(near)
    replies = [await wire.reply() for _ in range(1_000)]
    assert [number for number, reply in enumerate(replies, 1) if "connection" in reply.headers] == [1_000]
    assert await wire.receive_end() == b""


class Counting(trio.abc.ReceiveStream):
    """Counts how often it is read."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self.stream = stream
        self.reads = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.reads += 1
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


@pytest.mark.parametrize("first", [b"", POST + b"Content-Length: 60000\r\n\r\n"], ids=["head", "body"])
async def test_crumbs_are_read_together(first: bytes, autojump_clock: MockClock) -> None:
    near, far = memory_stream_pair()
    counting = Counting(far.receive_stream)

    async def answer(_: http.Request) -> http_responses.Response | None:
        raise AssertionError("the request is not whole")

    async def drip() -> None:
        await near.send_all(first)
        while True:
            await near.send_all(b"x")
            await trio.sleep(0.005)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drip)
        both = trio.StapledStream(far.send_stream, counting)
        assert await http.converse(both, answer, 10, takes_body=lambda _: True) is None
        nursery.cancel_scope.cancel()
    assert (await Wire(near).reply()).status == 408
    assert counting.reads < 250


heads = st.one_of(
    st.binary(max_size=200),
    st.tuples(st.integers(0, len(upgrade())), st.binary(min_size=1, max_size=8)).map(
        lambda change: upgrade()[: change[0]] + change[1] + upgrade()[change[0] :]
    ),
    st.tuples(st.sampled_from([*HANDSHAKE, "Sec-WebSocket-Extensions", "Expect", "Content-Length"]), st.text()).map(
        lambda pair: upgrade().replace(b"\r\n\r\n", b"\r\n%b: %b\r\n\r\n" % (pair[0].encode(), pair[1].encode()))
    ),
)


@pytest.mark.slow
@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=heads)
async def test_any_bytes_are_answered_or_cut_off_and_nobody_is_alarmed(sent: bytes) -> None:
    with structlog.testing.capture_logs() as told:
        async with open_door() as door, open_stream(door) as wire:
            assert isinstance(wire.stream, trio.StapledStream)
            await wire.send(sent)
            await wire.stream.send_eof()
            answer = await wire.receive_end()
    assert answer == b"" or answer[:10] in (b"HTTP/1.1 4", b"HTTP/1.1 5", b"HTTP/1.1 2", b"HTTP/1.1 1"), answer
    assert not answer.startswith(b"HTTP/1.1 500")
    assert [line["event"] for line in told if line["log_level"] not in ("debug", "info")] == []


@pytest.mark.parametrize("value", ["\x01", "x\x7f", "\x9b31m", "\u2028", "\x00"])
@pytest.mark.parametrize("name", ["sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"])
def test_the_handshake_alone_refuses_them_too(name: str, value: str) -> None:
    sample = {key.lower(): text or "" for key, text in HANDSHAKE.items()} | {name: value}
    request = http.Request("GET", "/", sample, list(sample.items()), "/")
    with pytest.raises(websocket.HandshakeRefused) as refused:
        websocket.accept(request, 1_000, deflate=True)
    assert refused.value.status == 400
    assert refused.value.response.startswith(b"HTTP/1.1 400 ")
