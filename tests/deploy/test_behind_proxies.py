"""A relay behind a real nginx and a real Caddy, by the files of deploy/: who clients are, and what passes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from perf.servers import free_ports
from tests.support.keys import ALICE
from tests.support.program import Program, running
from tests.support.tls_proxy import NAME, TlsProxy, certified, changed, listening, run_quietly

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
DENIED: Final = "127.0.0.3"
pytestmark = pytest.mark.slow

WRAPPER: Final = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/trio-relay.conf;
}}
"""
"""What Debian's own file says around the example, with nothing outside of a test's folder."""


def nginx(folder: Path, relay: Program, plain: int, tls: int) -> Sequence[str | Path]:
    """Write its files; gives what starts it."""
    changes = {
        "    listen [::]:80;\n": "",
        "    listen [::]:443 ssl;\n": "",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{tls} ssl;",
        "/etc/letsencrypt/live/relay.example.org/fullchain.pem": str(folder / "chain.pem"),
        "/etc/letsencrypt/live/relay.example.org/privkey.pem": str(folder / "key.pem"),
        "server 127.0.0.1:7777;": "server {}:{};".format(*relay.address),
    }
    (folder / "trio-relay.conf").write_text(changed(DEPLOY / "nginx" / "trio-relay.conf", changes))
    (folder / "nginx.conf").write_text(WRAPPER.format(folder=folder))
    return ["nginx", "-c", folder / "nginx.conf", "-e", folder / "error.log"]


def caddy(folder: Path, relay: Program, plain: int, tls: int) -> Sequence[str | Path]:
    """Write its file; gives what starts it."""
    options = f"\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port {plain}\n\thttps_port {tls}\n"
    changes = {
        "{\n\tservers {": f"{{\n{options}\tservers {{",
        f"{NAME} {{\n": f"{NAME} {{\n\ttls {folder / 'chain.pem'} {folder / 'key.pem'}\n",
        "127.0.0.1:7777": "{}:{}".format(*relay.address),
    }
    (folder / "Caddyfile").write_text(changed(DEPLOY / "caddy" / "Caddyfile", changes))
    return ["caddy", "run", "--config", folder / "Caddyfile"]


Starting = Callable[[Path, Program, int, int], Sequence[str | Path]]
each_proxy = pytest.mark.parametrize(
    "starting",
    [
        pytest.param(one, marks=pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed"))
        for name, one in {"nginx": nginx, "caddy": caddy}.items()
    ],
    ids=lambda one: one.__name__,
)


@asynccontextmanager
async def proxied(folder: Path, starting: Starting) -> AsyncIterator[TlsProxy]:
    """A relay that the proxy stands before, which denies one of this machine's addresses."""
    settings = {
        "store.backend": "memory",
        "relay.url": f"wss://{NAME}/",
        "policy.admins": f'["{ALICE.pubkey}"]',
        "net.trusted_proxies": '["127.0.0.1"]',
        "policy.denied_addresses": f'["203.0.113.9", "{DENIED}"]',
    }
    plain, tls = free_ports(2)
    proxy = TlsProxy(plain, tls, certified(folder))
    async with running(folder, settings) as relay:
        command = starting(folder, relay, proxy.plain, proxy.tls)
        # Caddy keeps what it has learnt in its user's home.
        async with run_quietly(command, {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}):
            await listening(proxy.tls)
            yield proxy


@each_proxy
async def test_a_client_is_who_the_proxy_says_whatever_it_says_itself(tmp_path: Path, starting: Starting) -> None:
    async with proxied(tmp_path, starting) as proxy:
        # The first two headers are the client's own words, and name one who may not connect.
        async with proxy.client(**{"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}) as client:
            event = ALICE.event("through the proxy")
            assert await client.publish(event) == ["OK", event.id, True, ""]
            assert [found["id"] for found in await client.ask("all", {"ids": [event.id]})] == [event.id]
        assert (await proxy.get("/", DENIED)).startswith(b"HTTP/1.1 403")


@each_proxy
async def test_the_document_passes_and_the_health_does_not(tmp_path: Path, starting: Starting) -> None:
    async with proxied(tmp_path, starting) as proxy:
        head, _, body = (await proxy.get("/", Accept="application/nostr+json")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert 42 in json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["supported_nips"]
        assert (await proxy.get("/health")).startswith(b"HTTP/1.1 404")
        redirected = await proxy.get("/", secure=False)
        assert redirected.startswith(b"HTTP/1.1 308")
        assert f"location: https://{NAME}".encode() in redirected.replace(b"Location", b"location")


@each_proxy
async def test_a_call_may_be_as_long_as_the_relay_takes_it_and_no_longer(tmp_path: Path, starting: Starting) -> None:
    headers = {"Content-Type": "application/nostr+json+rpc"}
    async with proxied(tmp_path, starting) as proxy:
        assert (await proxy.ask("POST", "/", b" " * 65_536, headers=headers)).startswith(b"HTTP/1.1 401")
        answer = await proxy.ask("POST", "/", b" " * 65_537, headers=headers)
        assert answer.startswith(b"HTTP/1.1 413"), answer
