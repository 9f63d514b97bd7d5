"""TLS by the real program: with a certificate in files that change while clients are connected."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGHUP

import pytest
import trio
import trio_websocket

from tests.support.authority import NAME, certified, over_tls, shown, written
from tests.support.crew import pids
from tests.support.keys import ALICE
from tests.support.program import PATIENCE, Program, finished, running
from tests.support.server import Talker
from tests.support.wire import Wire
from trio_relay.net import tls

pytestmark = pytest.mark.slow


def settings(folder: Path, pair: tls.CertifiedKey) -> dict[str, str]:
    files = {f"net.{key}": path for key, path in written(folder, pair).items()}
    return {**files, "net.listen": '["127.0.0.1:0", "tls:127.0.0.1:0"]'}


@asynccontextmanager
async def connected(program: Program) -> AsyncIterator[trio.SSLStream[trio.abc.Stream]]:
    """A connection to where it speaks TLS."""
    await program.says("listening on wss://")
    found = re.search(r"^listening on wss://127\.0\.0\.1:(\d+)$", program.out, re.MULTILINE)
    assert found is not None, program.out
    stream = await trio.open_tcp_stream("127.0.0.1", int(found[1]))
    with trio.fail_after(PATIENCE):
        secure = over_tls(stream)
        await secure.do_handshake()
        yield secure
    await trio.aclose_forcefully(stream)


@asynccontextmanager
async def client_of(program: Program) -> AsyncIterator[Talker]:
    """A WebSocket client over TLS, by trio-websocket."""
    async with connected(program) as secure, trio.open_nursery() as nursery:
        connection = await trio_websocket.wrap_client_stream(
            nursery,
            secure,  # type: ignore[arg-type]  # any stream will do
            NAME,
            "/",
        )
        yield Talker(connection)
        nursery.cancel_scope.cancel()


async def serials(program: Program, count: int) -> set[int]:
    """Of the certificates that so many new connections are shown."""
    found = set()
    for _ in range(count):
        async with connected(program) as secure:
            found.add(shown(Wire(secure)))
    return found


async def times_read(program: Program, event: str, count: int) -> None:
    await program.until(lambda log: [line["event"] for line in log].count(event) >= count)


async def test_a_new_certificate_is_shown_and_nobody_is_disconnected(tmp_path: Path, processes: dict[str, str]) -> None:
    first, second = certified(), certified()
    async with (
        running(tmp_path, settings(tmp_path, first) | processes) as program,
        client_of(program) as client,
        program.client() as plain,
    ):
        [before] = await serials(program, 4)
        event = ALICE.event("before")
        assert await client.publish(event) == ["OK", event.id, True, ""]
        written(tmp_path, second)
        program.signal(SIGHUP)
        await times_read(program, "TLS certificate read again", 1)
        with trio.fail_after(PATIENCE):  # workers are told when the line is written
            while before in await serials(program, 4):
                pass
        written(tmp_path, tls.CertifiedKey(first.chain, second.key))
        program.signal(SIGHUP)
        stays = await program.logs("the configuration stays as it is")
        assert stays["error"] == "net.tls_certificate, net.tls_key: the key is not the one of the certificate"
        assert before not in await serials(program, 4)
        for talker in (client, plain):
            assert [found["id"] for found in await talker.ask("a", {"limit": 1})] == [event.id]
        if processes:
            assert len(pids(program)) == 2


@pytest.mark.parametrize("command", [(), ("check-config",)])
async def test_what_cannot_be_used_is_told_at_the_start(command: tuple[str, ...], tmp_path: Path) -> None:
    named = settings(tmp_path, tls.CertifiedKey(certified().chain, certified().key))
    done = await finished(tmp_path, *command, settings=named)
    assert done.returncode == 2
    assert b"net.tls_certificate, net.tls_key: the key is not the one of the certificate" in done.stderr
