"""Events that the relay itself signs, with a key of its own (NIP-11, `self`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from trio_relay.nostr.event import Event, compute_id

_Sign: TypeAlias = Callable[[bytes], bytes]


class Signer:
    """Signs events with one key, by coincurve, or in pure Python, which is much slower, where coincurve is missing.

    Args:
        secret: 32 bytes, a number from 1 to below the order of the curve.

    Raises:
        ValueError: it is not a valid secret key.
        ImportError: neither library is installed.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != 32:
            raise ValueError("a secret key has 32 bytes")
        try:
            key, self._sign = _with_coincurve(secret)
        except ImportError:
            key, self._sign = _with_python(secret)
        self.pubkey = key.hex()
        """64 hex characters."""

    def sign(self, kind: int, created_at: int, tags: list[list[str]], content: str = "") -> Event:
        """Make a valid event of this key; `created_at` in seconds since 1970."""
        event_id = compute_id(self.pubkey, created_at, kind, tags, content)
        sig = self._sign(bytes.fromhex(event_id)).hex()
        return Event(event_id, self.pubkey, created_at, kind, tags, content, sig)


def _with_coincurve(secret: bytes) -> tuple[bytes, _Sign]:
    from coincurve import PrivateKey

    key = PrivateKey(secret)
    return key.public_key_xonly.format(), key.sign_schnorr


def _with_python(secret: bytes) -> tuple[bytes, _Sign]:
    from pySecp256k1 import schnorr

    number = int.from_bytes(secret)
    if not 0 < number < schnorr.n:
        raise ValueError("a secret key is a number from 1 to below the order of the curve")

    def sign(event_id: bytes) -> bytes:
        signature: bytes = schnorr.sign(event_id, secret)
        return signature

    pubkey: bytes = schnorr.bytes_from_point(schnorr.G * number)
    return pubkey, sign
