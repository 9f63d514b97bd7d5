"""Relays behind a real HAProxy, by the file of config/cluster: who clients are, and how one relay is taken out."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio
import trio_websocket
import trustme

from tests.support.keys import ALICE
from tests.support.program import PATIENCE, Program, running
from tests.support.server import Talker

CONFIG = Path(__file__).parents[2] / "config" / "cluster" / "haproxy.cfg"
NAME = "relay.example.org"
DENIED = "127.0.0.3"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]


@dataclass
class Proxy:
    """A HAProxy that runs: its ports, and the socket that it is told by."""

    plain: int
    tls: int
    told: Path
    trust: ssl.SSLContext

    @asynccontextmanager
    async def client(self, address: str = "127.0.0.2", **headers: str) -> AsyncIterator[Talker]:
        """A WebSocket client at an address of this machine."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.tls, local_address=address)
        secure = trio.SSLStream(stream, self.trust, server_hostname=NAME, https_compatible=True)
        extra = [(name.encode(), value.encode()) for name, value in headers.items()]
        async with trio.open_nursery() as nursery:
            with trio.fail_after(PATIENCE):
                connection = await trio_websocket.wrap_client_stream(nursery, secure, NAME, "/", extra_headers=extra)
            yield Talker(connection)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await trio.aclose_forcefully(secure)

    async def tell(self, command: str) -> str:
        """One command to it, and what it answers."""
        async with await trio.open_unix_socket(str(self.told)) as stream:
            await stream.send_all(f"{command}\n".encode())
            return b"".join([part async for part in stream]).decode()

    async def get(self, path: str, address: str = "127.0.0.2", *, secure: bool = True) -> bytes:
        """The answer to a plain request from an address of this machine."""
        port = self.tls if secure else self.plain
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=address)
        if secure:
            stream = trio.SSLStream(
                stream,
                self.trust,
                server_hostname=NAME,
                https_compatible=True,
            )
        async with stream:
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
            with trio.fail_after(PATIENCE):
                return b"".join([part async for part in stream])


def free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@asynccontextmanager
async def proxied(folder: Path, relays: Sequence[Program]) -> AsyncIterator[Proxy]:
    """HAProxy by the example's file, but for addresses, ports, and the certificate."""
    authority = trustme.CA()
    authority.issue_cert(NAME).private_key_and_cert_chain_pem.write_to_path(str(folder / "relay.pem"))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    plain, tls, statistics = free_ports(3)
    proxy = Proxy(plain, tls, folder / "admin.sock", trust)
    text = CONFIG.read_text()
    for old, new in {
        "bind :80\n": f"bind 127.0.0.1:{plain}\n",
        "bind :443": f"bind 127.0.0.1:{tls}",
        "/etc/haproxy/certs/": str(folder / "relay.pem"),
        "/run/haproxy/admin.sock": str(proxy.told),
        "127.0.0.1:8404": f"127.0.0.1:{statistics}",
        "maxconn 150000": "maxconn 100",
        "    server relay-3 10.77.0.13:7777\n": "",
        **{f"10.77.0.1{number}:7777": "{}:{}".format(*relay.address) for number, relay in enumerate(relays, 1)},
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "haproxy.cfg").write_text(text)
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process, ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")],
            check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, deliver_cancel=kill,
        )  # fmt: skip
        await nursery.start(start)
        with trio.fail_after(PATIENCE):
            while not proxy.told.exists():  # noqa: ASYNC110  # it is another program, which does not tell
                await trio.sleep(0.01)
        yield proxy
        nursery.cancel_scope.cancel()


async def kill(process: trio.Process) -> None:
    process.kill()


@asynccontextmanager
async def two_relays(folder: Path) -> AsyncIterator[list[Program]]:
    """Each with a memory of its own, so that one can see who has got what."""
    settings = {
        "store.backend": "memory",
        "net.trusted_proxies": '["127.0.0.1"]',
        "policy.denied_addresses": f'["203.0.113.9", "{DENIED}"]',
        "net.grace_seconds": "5",
    }
    for name in "ab":
        (folder / name).mkdir()
    async with running(folder / "a", settings) as one, running(folder / "b", settings) as two:
        yield [one, two]


async def has(relay: Program, event_id: str) -> bool:
    async with relay.client() as client:
        return bool(await client.ask("q", {"ids": [event_id]}))


async def test_a_client_is_who_the_proxy_says_whatever_it_says_itself(tmp_path: Path) -> None:
    async with two_relays(tmp_path) as relays, proxied(tmp_path, relays) as proxy:
        # The first two headers are the client's own words, and name one who may not connect.
        async with proxy.client(**{"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}) as client:
            event = ALICE.event("through the proxy")
            assert await client.publish(event) == ["OK", event.id, True, ""]
        assert (await proxy.get("/", DENIED)).startswith(b"HTTP/1.1 403")
        assert (await proxy.get("/health")).startswith(b"HTTP/1.1 404")
        redirected = await proxy.get("/", secure=False)
        assert redirected.startswith(b"HTTP/1.1 308")
        assert f"location: https://{NAME}/".encode() in redirected


async def test_a_relay_is_taken_out_and_its_clients_lose_no_more_than_a_connection(tmp_path: Path) -> None:
    async with (
        two_relays(tmp_path) as (one, two),
        proxied(tmp_path, [one, two]) as proxy,
        proxy.client() as first,
        proxy.client() as second,
    ):
        event = ALICE.event("who has got me?")
        assert (await first.publish(event))[2]
        stays, leaves = (second, first) if await has(one, event.id) else (first, second)
        assert (await proxy.tell("set server relays/relay-1 state drain")).strip() == ""
        # It keeps those that it has, and gets nobody else.
        kept = ALICE.event("still there")
        assert (await leaves.publish(kept))[2]
        assert await has(one, kept.id)
        for number in range(3):
            async with proxy.client() as newcomer:
                new = ALICE.event(f"new {number}")
                assert (await newcomer.publish(new))[2]
                assert await has(two, new.id)
        one.signal(signal.SIGTERM)
        with pytest.raises(trio_websocket.ConnectionClosed) as closed:
            await leaves.receive()
        assert closed.value.reason is not None
        assert closed.value.reason.code == 1012
        assert await one.wait() == 0
        async with proxy.client() as again:
            back = ALICE.event("and back")
            assert (await again.publish(back))[2]
            assert await has(two, back.id)
        unharmed = ALICE.event("nobody else noticed")
        assert (await stays.publish(unharmed))[2]
