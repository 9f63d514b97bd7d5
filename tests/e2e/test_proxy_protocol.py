"""The program behind a real HAProxy that passes TCP on and says whose it is by the PROXY protocol."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from perf.servers import free_ports
from tests.support.authority import certified, over_tls, written
from tests.support.keys import ALICE
from tests.support.program import PATIENCE, Program, running
from tests.support.tls_proxy import run_quietly
from tests.support.wire import Wire, message

DENIED = "127.0.0.3"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]


@asynccontextmanager
async def proxied(folder: Path, relay: Program) -> AsyncIterator[tuple[int, int]]:
    """HAProxy in front of the relay's two addresses: its ports, for plain connections and for TLS."""
    ports, told = free_ports(2), folder / "admin.sock"
    lines = ["global", f" stats socket {told}", "defaults", " mode tcp"]
    lines += [f" timeout {what} 30s" for what in ("connect", "client", "server")]
    found = re.findall(r"^listening on wss?://(\S+) for proxies, by the PROXY protocol$", relay.out, re.MULTILINE)
    for number, (port, address) in enumerate(zip(ports, found, strict=True)):
        lines += [f"listen door-{number}", f" bind 127.0.0.1:{port}", f" server relay {address} send-proxy-v2 check"]
    (folder / "haproxy.cfg").write_text("\n".join([*lines, ""]))
    async with run_quietly(["haproxy", "-db", "-f", folder / "haproxy.cfg"]):
        with trio.fail_after(PATIENCE):
            while not told.exists():  # noqa: ASYNC110  # it is another program, which does not tell
                await trio.sleep(0.01)
        yield ports[0], ports[1]


@asynccontextmanager
async def connected(port: int, address: str) -> AsyncIterator[trio.SocketStream]:
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream("127.0.0.1", port, local_address=address) as stream:
            yield stream


async def test_a_client_is_who_the_proxy_says_before_anything_else_is_said(tmp_path: Path) -> None:
    files = {f"net.{key}": path for key, path in written(tmp_path, certified()).items()}
    settings = {
        **files,
        "store.backend": "memory",
        "net.listen": '["proxy:127.0.0.1:0", "proxy:tls:127.0.0.1:0"]',
        "net.trusted_proxies": '["127.0.0.1"]',
        "policy.denied_addresses": f'["{DENIED}"]',
    }
    async with running(tmp_path, settings) as relay:
        await relay.says("listening on wss://")
        async with proxied(tmp_path, relay) as (plain, tls):
            for port in (plain, tls):
                async with connected(port, "127.0.0.2") as stream:
                    wire = Wire(over_tls(stream) if port == tls else stream)
                    await wire.open()
                    event = ALICE.event(f"through {port}")
                    await wire.send(message("EVENT", event))
                    assert await wire.receive() == ["OK", event.id, True, ""]
            async with connected(plain, DENIED) as stream:
                assert await Wire(stream).receive_end() == b""
            found = re.search(r"^listening on ws://127\.0\.0\.1:(\d+)", relay.out, re.MULTILINE)
            assert found is not None
            async with connected(int(found[1]), "127.0.0.2") as stream:
                assert await Wire(stream).receive_end() == b""
