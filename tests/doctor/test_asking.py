"""One request over a stream: answers that come in pieces, and those that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from trio_relay.doctor import asking


async def answered(*pieces: bytes, body: bytes = b"") -> tuple[asking.Answered, bytes]:
    """What comes of an answer in these pieces, and what was sent."""
    near, far = trio.testing.memory_stream_pair()
    sent = b""

    async def answer() -> None:
        nonlocal sent
        sent += await far.receive_some()
        for piece in pieces:
            await far.send_all(piece)
        await far.send_eof()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        try:
            return await asking.ask(near, "relay.example", "/x", accept="a/b", body=body, kind="c/d"), sent
        except asking.NoAnswer as error:
            failure = error
    raise failure


async def test_an_answer_in_pieces() -> None:
    pieces = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nDate: x\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"3\r\ntea\r\n0\r\n\r\n",
    )
    found, sent = await answered(*pieces)
    assert (found.status, found.headers["date"], found.body) == (200, "x", b"tea")
    assert sent.startswith(b"GET /x HTTP/1.1\r\nHost: relay.example\r\n")
    assert b"\r\nAccept: a/b\r\n" in sent


async def test_a_body_makes_it_a_post() -> None:
    _, sent = await answered(b"HTTP/1.1 204 No Content\r\n\r\n", body=b"tea")
    assert sent.startswith(b"POST /x ")
    assert sent.endswith(b"Content-Type: c/d\r\nContent-Length: 3\r\n\r\ntea")


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([], "^the connection was closed without an answer$"),
        ([b"SSH-2.0-OpenSSH\r\n"], "does not speak HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ntea"], "does not speak HTTP"),
        ([b"HTTP/1.1 101 Switching Protocols\r\n\r\n"], "does not speak HTTP"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n", b"x" * 9_000_000], "too long"),
    ],
)
async def test_what_is_no_answer(pieces: list[bytes], reason: str) -> None:
    with pytest.raises(asking.NoAnswer, match=reason):
        await answered(*pieces)


async def test_a_stream_that_is_gone() -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.aclose()
    with pytest.raises(asking.NoAnswer, match="broke off"):
        await asking.ask(near, "relay.example", "/")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error": "restricted: no"}', "restricted: no"),
        (b"<html>", "no relay of this kind"),
        (b"[]", "no relay of this kind"),
        (b"{}", "no relay of this kind"),
    ],
)
async def test_calls_that_are_refused(tmp_path: Path, body: bytes, reason: str) -> None:
    place = tmp_path / "s"

    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with pytest.raises(asking.NoAnswer, match="No such file"):
        await asking.call(place, "stats")
    bound = trio.socket.socket(trio.socket.AF_UNIX)
    await bound.bind(str(place))
    bound.listen(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, refuse, [trio.SocketListener(bound)])
        with pytest.raises(asking.NoAnswer, match=reason):
            await asking.call(place, "stats")
        nursery.cancel_scope.cancel()
