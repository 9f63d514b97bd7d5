"""Usual handshakes are read in a short way, which gives what the careful way gives, or leaves it to that."""

from __future__ import annotations

from base64 import b64encode

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair
from websockets.server import ServerProtocol

from tests.support.marks import examples
from tests.support.wire import HANDSHAKE, TEXT, closing, frame, upgrade
from trio_relay.net import http, http_responses, request_head, websocket

BROWSER = (
    b"GET /?a=b HTTP/1.1\r\nHost: relay.example:7777\r\nConnection: keep-alive, Upgrade\r\nPragma: no-cache\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nUpgrade: websocket\r\nOrigin: https://client.example\r\n"
    b"Sec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br\r\nCookie:\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)

blanks = st.sampled_from(["", " ", "\t", " \t "])
names = st.one_of(
    st.sampled_from(["Host", "host", "X-A", "Content-Length", "transfer-encoding", "Expect", "Upgrade", "Connection"]),
    st.text("aZ0!#-_~ :(\xe9\x00", max_size=4),
)
values = st.one_of(
    st.sampled_from(["a", "a b", "a\tb", "0", "5", "chunked", "100-continue", "[::1]:80", "a:b", "a/b", "websocket"]),
    st.text(st.characters(codec="latin-1"), max_size=6),
)
lines = st.tuples(names, blanks, values, blanks).map(lambda parts: "{}:{}{}{}".format(*parts))
starts = st.builds(
    "{} {} {}".format,
    st.sampled_from(["GET", "GET", "GET", "get", "HEAD", "POST", "GET "]),
    st.sampled_from(["/", "/a?b=c", "/%20~", "*", "http://a/b", "/\xe9", "/a b", ""]),
    st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "http/1.1"]),
)
heads = st.builds(
    lambda start, lines, end: ("\r\n".join([start, *lines]) + end).encode("latin-1"),
    starts,
    st.lists(lines, max_size=6).flatmap(lambda some: st.permutations(["Host: a", *some])),
    st.sampled_from(["\r\n\r\n", "\r\n\r\n", "\r\n\r\nrest", "\n\n", "\r\n"]),
)


def carefully(data: bytes) -> tuple[bytes, str, list[tuple[str, str]]]:
    """The same by h11."""
    size = request_head.end_of_head(bytearray(data), 0)
    _, request = request_head.parse_head(data[:size])
    assert (request.method, request.http_version) == (b"GET", b"1.1")
    assert not request_head.has_body(request)
    raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers]
    return data[:size], request.target.decode("latin-1"), raw


@pytest.mark.slow
@settings(max_examples=examples(300))
@given(data=heads)
def test_a_head_is_read_as_the_careful_way_reads_it_or_not_at_all(data: bytes) -> None:
    plain = request_head.plain_head(data)
    assert plain is None or plain == carefully(data)


@pytest.mark.parametrize("data", [BROWSER, upgrade(), BROWSER + frame(TEXT, b'["REQ","a",{}]')])
def test_usual_handshakes_are_plain(data: bytes) -> None:
    plain = request_head.plain_head(data)
    assert plain is not None
    assert plain == carefully(data)


@pytest.mark.parametrize(
    "lines",
    [b"A: b\r\n" * 100, b"A: " + b"b" * 16_384 + b"\r\n", b"Host: b\r\n", b"A: \xe9\r\n", b"Content-Length: 0\r\n"],
    ids=["many lines", "long", "two hosts", "not ASCII", "a length"],
)
def test_what_the_careful_way_refuses_or_reads_in_another_way_is_left_to_it(lines: bytes) -> None:
    assert request_head.plain_head(BROWSER.replace(b"\r\n\r\n", b"\r\n" + lines + b"\r\n")) is None


async def test_a_usual_handshake_is_read_without_h11_and_refused_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def counted(*_arguments: object, **_options: object) -> h11.Connection:
        made.append(None)
        return connection(h11.SERVER)

    connection = h11.Connection
    monkeypatch.setattr(h11, "Connection", counted)

    async def hand_over(_: http.Request) -> http_responses.Response | None:
        return None

    async def refuse(_: http.Request) -> http_responses.Response | None:
        return http_responses.Response(503, headers=[("Connection", "close")])

    near, far = memory_stream_pair()
    await near.send_all(BROWSER + b"rest")
    handed_over = await http.converse(far, hand_over, 10)
    assert handed_over is not None
    assert (handed_over.rest, handed_over.request.path, len(made)) == (b"rest", "/", 0)

    near, far = memory_stream_pair()
    await near.send_all(BROWSER)
    near.send_stream.close()
    assert await http.converse(far, refuse, 10) is None
    assert (await near.receive_some()).startswith(b"HTTP/1.1 503 ")
    assert len(made) == 1


def answer(headers: dict[str, str], *, deflate: bool) -> tuple[int, bytes]:
    """The status of the answer to a handshake, and the response or what was wrong."""
    request = http.Request("GET", "/", headers, list(headers.items()), "/")
    try:
        return 101, websocket.accept(request, 1_000, deflate=deflate)[1]
    except websocket.HandshakeRefused as refused:
        return refused.status, str(refused).encode()


sample = {name.lower(): value for name, value in HANDSHAKE.items() if value is not None}
keys = st.one_of(
    st.binary(min_size=15, max_size=17).map(lambda raw: b64encode(raw).decode()),
    st.text("AB/+=-_ ,", min_size=20, max_size=26),
    st.just("AAAAAAAAAAAAAAAAAAAAAB=="),
)


@pytest.mark.slow
@settings(max_examples=examples(200))
@given(
    changes=st.fixed_dictionaries(
        {},
        optional={
            "sec-websocket-key": keys,
            "sec-websocket-version": st.sampled_from(["13", "13,13", "13,", "8", "", " 13"]),
            "connection": st.sampled_from(["upgrade", "keep-alive, Upgrade", "keep-alive", "", "upgrades", ",upgrade"]),
            "upgrade": st.sampled_from(["WebSocket", "websocket,", "h2c, websocket", "h2c", ""]),
        },
    )
)
def test_the_same_handshakes_are_accepted_as_by_the_core(changes: dict[str, str]) -> None:
    headers = sample | changes
    # An offer of extensions, be it of none, is for the core.
    assert answer(headers, deflate=False) == answer(headers | {"sec-websocket-extensions": ""}, deflate=True)


def test_a_connection_needs_a_core_only_for_what_is_no_whole_text_and_no_pong(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ServerProtocol] = []

    def counted(**options: object) -> ServerProtocol:
        made.append(ServerProtocol(**options))  # type: ignore[arg-type]  # what the caller gives
        return made[-1]

    monkeypatch.setattr(websocket, "ServerProtocol", counted)
    socket, _ = websocket.accept(http.Request("GET", "/", sample, [], "/"), 1_000, deflate=True)
    assert socket.receive(frame(TEXT, b"a") + frame(TEXT, b"b")) == [b"a", b"b"]
    socket.ping()
    assert socket.output() == b"\x89\x00"
    assert socket.receive(frame(0x8A, b"")) == []
    assert (socket.output(), made, socket.is_open, socket.is_done) == (b"", [], True, False)
    assert socket.receive(closing(1000)) == []
    assert (len(made), socket.is_open, socket.was_closed_by_client) == (1, False, True)
