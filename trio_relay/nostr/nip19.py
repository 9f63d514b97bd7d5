"""What people write for keys, events and addresses: hex, or Bech32 with a word in front (NIP-19), also behind `nostr:`.

Bech32 is that of BIP-173, by its reference implementation, whose limit of 90 letters NIP-19 lifts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from bech32 import bech32_decode, bech32_encode, convertbits

from trio_relay.nostr.event import is_hex64
from trio_relay.nostr.kinds import MAX_KIND

_MOST_LETTERS: Final = 5_000
"""NIP-19's own limit, for entities with many relays."""
_SPECIAL: Final = 0
"""The type of the record that holds what an entity is about."""
_AUTHOR: Final = 2
_KIND: Final = 3
_BYTES: Final = 32
"""Of a key, and of an id."""
_WHAT_A_KEY_IS: Final = "a key is 64 hex characters, or starts with npub1 or nprofile1"


class Address(NamedTuple):
    """What a replaceable or addressable event stands at (NIP-01, "Kinds"): `naddr1…` says it in one word."""

    kind: int
    pubkey: str
    name: str


def pubkey_of(text: str) -> str:
    """Read a public key in any of its spellings; returns it as 64 lowercase hex characters.

    Raises:
        ValueError: it is none; the message says what a key looks like, and never holds a secret one.
    """
    plain = _plain(text)
    lower = plain.lower()
    if is_hex64(lower):
        return lower
    kind = lower.partition("1")[0]
    if kind == "nsec":
        raise ValueError("a secret key (nsec1…) must stand nowhere but with its owner: give its npub")
    if kind not in ("npub", "nprofile"):
        raise ValueError(f"{_shown(text)} is no key: {_WHAT_A_KEY_IS}")
    if plain not in (lower, plain.upper()):
        raise ValueError(f"{_shown(text)} is no key: its letters are of both cases")
    data = _decode(plain, kind)
    key = data if kind == "npub" else _records(data or b"").get(_SPECIAL)
    if key is None or len(key) != _BYTES:
        raise ValueError(f"{_shown(text)} is no key: a character is missing or wrong")
    return key.hex()


def secret_of(text: str) -> bytes:
    """Read a secret key, hex or `nsec1…`; returns its 32 bytes.

    Raises:
        ValueError: it is none; the message holds nothing of it.
    """
    plain = _plain(text).lower()
    data = bytes.fromhex(plain) if is_hex64(plain) else _decode(plain, "nsec")
    if data is None or len(data) != _BYTES:
        raise ValueError("a secret key is 64 hex characters, or starts with nsec1")
    return data


def event_id_of(text: str) -> str:
    """Read the id of an event: hex, `note1…` or `nevent1…`; returns it as 64 lowercase hex characters.

    Raises:
        ValueError: it is none.
    """
    plain = _plain(text)
    if is_hex64(plain.lower()):
        return plain.lower()
    kind = plain.lower().partition("1")[0]
    data = _decode(plain, kind) if kind in ("note", "nevent") else None
    found = data if kind == "note" else _records(data or b"").get(_SPECIAL)
    if found is None or len(found) != _BYTES:
        raise ValueError(f"{_shown(text)} is no id of an event")
    return found.hex()


def address_of(text: str) -> Address:
    """Read an address, `naddr1…`.

    Raises:
        ValueError: it is none.
    """
    records = _records(_decode(_plain(text), "naddr") or b"")
    name, author, kind = (records.get(which, b"") for which in (_SPECIAL, _AUTHOR, _KIND))
    number = int.from_bytes(kind, "big")
    if len(author) != _BYTES or len(kind) != 4 or number > MAX_KIND:
        raise ValueError(f"{_shown(text)} is no address of events")
    return Address(number, author.hex(), name.decode("utf-8", "replace"))


@lru_cache(4_096)  # writing one takes a seventh of a millisecond, and pages have hundreds of the same
def npub_of(pubkey: str) -> str:
    """Write a key, 64 hex characters, as `npub1…`."""
    return _encode("npub", bytes.fromhex(pubkey))


def note_of(event_id: str) -> str:
    """Write the id of an event, 64 hex characters, as `note1…`."""
    return _encode("note", bytes.fromhex(event_id))


def naddr_of(address: Address) -> str | None:
    """Write an address as `naddr1…`; None where its name is too long for that: 255 bytes."""
    name = address.name.encode("utf-8", "surrogatepass")
    if len(name) > 255:
        return None
    records = (
        (_SPECIAL, name),
        (_AUTHOR, bytes.fromhex(address.pubkey)),
        (_KIND, address.kind.to_bytes(4, "big")),
    )
    return _encode("naddr", b"".join(bytes([kind, len(value)]) + value for kind, value in records))


def _plain(text: str) -> str:
    return text.strip().removeprefix("nostr:")


def _decode(text: str, kind: str) -> bytes | None:
    """Decode the bytes of a Bech32 text that starts with this word and a 1; None if it is damaged."""
    if len(text) > _MOST_LETTERS:
        return None
    word, values = bech32_decode(text)
    found = convertbits(values, 5, 8, pad=False) if word == kind and values is not None else None
    return None if found is None else bytes(found)


def _encode(kind: str, data: bytes) -> str:
    return bech32_encode(kind, convertbits(data, 8, 5) or [])


def _records(data: bytes) -> dict[int, bytes]:
    """Read the records of an entity, the first of each type: a type and a length of a byte each, then the value."""
    found: dict[int, bytes] = {}
    while len(data) >= 2:
        kind, length, data = data[0], data[1], data[2:]
        value, data = data[:length], data[length:]
        found.setdefault(kind, value)
    return found


def _shown(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:24] + "…")
