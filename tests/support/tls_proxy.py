"""A proxy in front of relays that ends TLS, and those who come to it from addresses of this machine."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import trio
import trio_websocket
import trustme

from tests.support.program import PATIENCE
from tests.support.server import Talker

NAME: Final = "relay.example.org"
"""What the examples call the relay."""


@dataclass
class TlsProxy:
    """A proxy that runs: its ports, and whom its clients trust."""

    plain: int
    tls: int
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

    async def get(self, path: str, address: str = "127.0.0.2", *, secure: bool = True, **headers: str) -> bytes:
        """The answer to a plain request from an address of this machine."""
        return await self.ask("GET", path, b"", address, secure=secure, headers=headers)

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes,
        address: str = "127.0.0.2",
        *,
        secure: bool = True,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The whole answer to a request with a body."""
        port = self.tls if secure else self.plain
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=address)
        if secure:
            stream = trio.SSLStream(stream, self.trust, server_hostname=NAME, https_compatible=True)
        told = {"Host": NAME, "Connection": "close", "Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        async with stream:
            with trio.fail_after(PATIENCE):
                await stream.send_all(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
                return b"".join([part async for part in stream])


def certified(folder: Path) -> ssl.SSLContext:
    """Make a certificate in a folder, `chain.pem`, `key.pem` and both as `relay.pem`; gives what trusts it."""
    authority = trustme.CA()
    certificate = authority.issue_cert(NAME)
    chain, key = certificate.cert_chain_pems, certificate.private_key_pem
    (folder / "chain.pem").write_bytes(b"".join(one.bytes() for one in chain))
    key.write_to_path(str(folder / "key.pem"))
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "relay.pem"))
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    return trust


def changed(example: Path, changes: Mapping[str, str]) -> str:
    """The text of an example with what cannot be the same in a test; each change is for a place that there is."""
    text = example.read_text()
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def run_quietly(
    command: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> AsyncIterator[None]:
    """Another program while the context lasts; killed at the end."""
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process, [str(part) for part in command], env=environment,
            check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, deliver_cancel=_kill,
        )  # fmt: skip
        await nursery.start(start)
        yield
        nursery.cancel_scope.cancel()


async def _kill(process: trio.Process) -> None:
    process.kill()


async def listening(port: int) -> None:
    """Wait until somebody listens there."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                stream = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                await trio.sleep(0.01)  # it is another program, which does not tell
            else:
                await stream.aclose()
                return
