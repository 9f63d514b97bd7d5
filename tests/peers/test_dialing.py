"""Connections to other relays over real sockets, with TLS and without."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio_websocket
import trustme

from tests.support.keys import ALICE
from trio_relay import bound_address
from trio_relay.peers import options, peer, waiting

QUICK = options.PeerOptions(connect_seconds=10, close_seconds=1, answer_seconds=10)


async def taking_all(request: trio_websocket.WebSocketRequest) -> None:
    connection = await request.accept()
    while True:
        _, event = json.loads(await connection.get_message())
        await connection.send_message(json.dumps(["OK", event["id"], True, ""]))


async def take_all(request: trio_websocket.WebSocketRequest) -> None:
    with pytest.raises(trio_websocket.ConnectionClosed):
        await taking_all(request)


@asynccontextmanager
async def served(tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, take_all, "127.0.0.1", 0, tls)
        yield server.port
        nursery.cancel_scope.cancel()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """One that is trusted here."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return ca


def server_tls(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(name).configure_cert(context)
    return context


async def test_a_relay_is_reached_over_tcp() -> None:
    async with served(None) as port, peer.open_peer(f"ws://127.0.0.1:{port}", options=QUICK) as one:
        assert (await one.publish(ALICE.event())).accepted


async def test_a_relay_is_reached_over_tls(authority: trustme.CA) -> None:
    tls = server_tls(authority, "localhost")
    async with served(tls) as port, peer.open_peer(f"wss://localhost:{port}", options=QUICK) as one:
        assert (await one.publish(ALICE.event())).accepted


@pytest.mark.parametrize("fault", ["of another name", "by nobody that is trusted"])
async def test_a_relay_with_a_wrong_certificate_is_not_spoken_to(authority: trustme.CA, fault: str) -> None:
    tls = (
        server_tls(authority, "other.example") if fault == "of another name" else server_tls(trustme.CA(), "localhost")
    )
    async with trio.open_nursery() as nursery:
        (plain,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener = trio.SSLListener(plain, tls, https_compatible=True)

        async def refused(stream: trio.SSLStream[trio.SocketStream]) -> None:
            with pytest.raises(trio.BrokenResourceError):
                await stream.do_handshake()

        await nursery.start(trio.serve_listeners, refused, [listener])
        port = bound_address(plain).rpartition(":")[2]
        with pytest.raises(waiting.PeerLost, match="no connection: CERTIFICATE_VERIFY_FAILED"):
            async with peer.open_peer(f"wss://localhost:{port}", options=QUICK):
                pass
        nursery.cancel_scope.cancel()


async def test_nobody_there_is_said() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = bound_address(listener).rpartition(":")[2]
    await listener.aclose()
    with pytest.raises(waiting.PeerLost, match="no connection: Connection refused"):
        async with peer.open_peer(f"ws://127.0.0.1:{port}", options=QUICK):
            pass


async def test_a_name_that_nobody_has_is_said() -> None:
    with pytest.raises(waiting.PeerLost, match="no connection: "):
        async with peer.open_peer("ws://nobody.invalid", options=QUICK):
            pass
