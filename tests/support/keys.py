"""Authors who sign: real keys, real signatures, made the same in every run."""

from __future__ import annotations

from hashlib import sha256

from coincurve import PrivateKey

from trio_relay.nostr.event import Event, compute_id

NOW = 1_700_000_000
"""The time of day in tests, seconds since 1970."""


class Author:
    """A key pair made from a name."""

    def __init__(self, name: str = "alice") -> None:
        self._key = PrivateKey(sha256(name.encode()).digest())
        self.pubkey = self._key.public_key.format()[1:].hex()

    def event(
        self, content: str = "", *, kind: int = 1, created_at: int = NOW, tags: list[list[str]] | None = None
    ) -> Event:
        """A valid, signed event."""
        event_id = compute_id(self.pubkey, created_at, kind, tags or [], content)
        return self.signed(event_id, created_at, kind, tags or [], content)

    def signed(self, event_id: str, created_at: int, kind: int, tags: list[list[str]], content: str) -> Event:
        """An event with this id, whether or not it is the right one, and a valid signature of it."""
        sig = self._key.sign_schnorr(bytes.fromhex(event_id), bytes(32)).hex()
        return Event(event_id, self.pubkey, created_at, kind, tags, content, sig)


ALICE = Author("alice")
BOB = Author("bob")
CAROL = Author("carol")


def made_up(content: str = "", *, created_at: int = NOW) -> Event:
    """An event with the right id and no real signature: cheap, where thousands are needed and nobody verifies."""
    pubkey = "a" * 64
    return Event(compute_id(pubkey, created_at, 1, [], content), pubkey, created_at, 1, [], content, "5" * 128)
