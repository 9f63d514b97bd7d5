"""An authority for certificates, and clients that trust it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final

import trio
import trio.testing
import trustme

from tests.support.server import Door, Pair
from tests.support.wire import Wire
from trio_relay.net import tls

NAME: Final = "relay.example"


@cache
def authority() -> trustme.CA:
    """One for all tests: making its key takes a moment."""
    return trustme.CA()


def certified(*, ends: datetime | None = None, key: trustme.KeyType = trustme.KeyType.ECDSA) -> tls.CertifiedKey:
    """A new certificate of the authority for the relay, and its key."""
    made = authority().issue_cert(NAME, not_after=ends, key_type=key)
    chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
    return tls.CertifiedKey(chain, made.private_key_pem.bytes())


def written(folder: Path, pair: tls.CertifiedKey) -> dict[str, str]:
    """The settings of a relay that has this pair in files, which are replaced if they are there."""
    files = {"tls_certificate": folder / "relay.pem", "tls_key": folder / "relay.key"}
    for path, data in zip(files.values(), (pair.chain, pair.key), strict=True):
        path.touch(0o600)
        path.write_bytes(data)
    return {key: str(path) for key, path in files.items()}


def trust() -> ssl.SSLContext:
    """What a client needs that trusts the authority."""
    context = ssl.create_default_context()
    authority().configure_trust(context)
    return context


def over_tls(stream: trio.abc.Stream, context: ssl.SSLContext | None = None) -> trio.SSLStream[trio.abc.Stream]:
    """A client's end, whose handshake comes with its first byte."""
    return trio.SSLStream(stream, context or trust(), server_hostname=NAME, https_compatible=True)


@asynccontextmanager
async def open_secure(
    door: Door, pair: Pair = trio.testing.memory_stream_pair, *, context: ssl.SSLContext | None = None
) -> AsyncIterator[Wire]:
    """A connection to a relay that speaks TLS; it is dropped at the end."""
    stream = await door.listener.connect(pair)
    try:
        yield Wire(over_tls(stream, context))
    finally:
        await trio.aclose_forcefully(stream)


def shown(wire: Wire) -> int:
    """The serial number of the certificate that the relay has shown."""
    found = wire.stream.getpeercert()  # type: ignore[attr-defined]  # it is one over TLS
    return int(found["serialNumber"], 16)
