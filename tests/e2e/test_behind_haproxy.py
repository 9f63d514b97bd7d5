"""Relays behind a real HAProxy, by the file of config/cluster: who clients are, and how one relay is taken out."""

from __future__ import annotations

import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
import trio_websocket

from perf.servers import free_ports
from tests.support.keys import ALICE
from tests.support.program import PATIENCE, Program, running
from tests.support.tls_proxy import NAME, TlsProxy, certified, changed, run_quietly

CONFIG = Path(__file__).parents[2] / "config" / "cluster" / "haproxy.cfg"
DENIED = "127.0.0.3"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed"),
]


@dataclass
class HaProxy(TlsProxy):
    """A HAProxy that runs, and the socket that it is told by."""

    told: Path

    async def tell(self, command: str) -> str:
        """One command to it, and what it answers."""
        async with await trio.open_unix_socket(str(self.told)) as stream:
            await stream.send_all(f"{command}\n".encode())
            return b"".join([part async for part in stream]).decode()


@asynccontextmanager
async def proxied(folder: Path, relays: Sequence[Program]) -> AsyncIterator[HaProxy]:
    """HAProxy by the example's file, but for addresses, ports, and the certificate."""
    trust = certified(folder)
    plain, tls, statistics = free_ports(3)
    proxy = HaProxy(plain, tls, trust, folder / "admin.sock")
    changes = {
        "bind :80\n": f"bind 127.0.0.1:{plain}\n",
        "bind :443": f"bind 127.0.0.1:{tls}",
        "/etc/haproxy/certs/": str(folder / "relay.pem"),
        "/run/haproxy/admin.sock": str(proxy.told),
        "127.0.0.1:8404": f"127.0.0.1:{statistics}",
        "maxconn 150000": "maxconn 100",
        "    server relay-3 10.77.0.13:7777\n": "",
        **{f"10.77.0.1{number}:7777": "{}:{}".format(*relay.address) for number, relay in enumerate(relays, 1)},
    }
    (folder / "haproxy.cfg").write_text(changed(CONFIG, changes))
    async with run_quietly(["haproxy", "-db", "-f", folder / "haproxy.cfg"]):
        with trio.fail_after(PATIENCE):
            while not proxy.told.exists():  # noqa: ASYNC110  # it is another program, which does not tell
                await trio.sleep(0.01)
        yield proxy


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
