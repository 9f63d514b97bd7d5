"""Keys as people write them: 64 hex characters, or `npub1…` and `nprofile1…` in Bech32 (NIP-19), also behind `nostr:`.

Bech32 is that of BIP-173: 32 letters of five bits each, the last six of them a checksum, in one case throughout.
"""

from __future__ import annotations

from functools import reduce
from operator import xor
from typing import Final

from trio_relay.nostr.event import is_hex64

_LETTERS: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES: Final = {letter: value for value, letter in enumerate(_LETTERS)}
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_TERMS: Final = [
    reduce(xor, (term for place, term in enumerate(_GENERATOR) if top >> place & 1), 0) for top in range(32)
]
"""What the five bits that leave at the top add."""
_CHECKSUM_LETTERS: Final = 6
_MOST_LETTERS: Final = 5_000
"""NIP-19's own limit, for entities with many relays."""
_SPECIAL: Final = 0
"""The type of the record that holds the key of an `nprofile`."""
_KEY_BYTES: Final = 32
_WHAT_A_KEY_IS: Final = "a key is 64 hex characters, or starts with npub1 or nprofile1"


def pubkey_of(text: str) -> str:
    """Read a public key in any of its spellings; returns it as 64 lowercase hex characters.

    Raises:
        ValueError: it is none; the message says what a key looks like, and never holds a secret one.
    """
    plain = text.strip().removeprefix("nostr:")
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
    data = _decode(lower, kind)
    key = data if kind == "npub" else _key_among(data or b"")
    if key is None or len(key) != _KEY_BYTES:
        raise ValueError(f"{_shown(text)} is no key: a character is missing or wrong")
    return key.hex()


def npub_of(pubkey: str) -> str:
    """Write a public key as people pass it on.

    Args:
        pubkey: 64 lowercase hex characters.
    """
    number = int(pubkey, 16) << 4  # 256 bits, and four to fill the last letter
    values = [number >> shift & 31 for shift in range(255, -1, -5)]
    checksum = _polymod([*_expanded("npub"), *values, *[0] * _CHECKSUM_LETTERS]) ^ 1
    values += [checksum >> shift & 31 for shift in range(25, -1, -5)]
    return f"npub1{''.join([_LETTERS[value] for value in values])}"


def _decode(text: str, kind: str) -> bytes | None:
    """Decode the bytes of a Bech32 text that starts with this word and a 1; None if it is damaged."""
    letters = text[len(kind) + 1 :]
    if len(text) > _MOST_LETTERS or len(letters) < _CHECKSUM_LETTERS or not _VALUES.keys() >= set(letters):
        return None
    values = [_VALUES[letter] for letter in letters]
    if _polymod([*_expanded(kind), *values]) != 1:
        return None
    return _bytes_of(values[:-_CHECKSUM_LETTERS])


def _expanded(word: str) -> list[int]:
    """What stands for the word in front of the 1 where the checksum is made."""
    return [ord(letter) >> 5 for letter in word] + [0] + [ord(letter) & 31 for letter in word]


def _polymod(values: list[int], checksum: int = 1) -> int:
    for value in values:
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value ^ _TERMS[checksum >> 25]
    return checksum


def _bytes_of(values: list[int]) -> bytes | None:
    """Regroup values of five bits as bytes; None if what is left over is a whole value, or not all zeros."""
    number = 0
    for value in values:
        number = number << 5 | value
    spare = len(values) * 5 % 8
    if spare >= 5 or number & ((1 << spare) - 1):
        return None
    return (number >> spare).to_bytes(len(values) * 5 // 8, "big")


def _key_among(data: bytes) -> bytes | None:
    """Find the key in the records of an `nprofile`: a type and a length of a byte each, then the value."""
    while len(data) >= 2:
        kind, length, data = data[0], data[1], data[2:]
        value, data = data[:length], data[length:]
        if kind == _SPECIAL:
            return value
    return None


def _shown(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:24] + "…")
