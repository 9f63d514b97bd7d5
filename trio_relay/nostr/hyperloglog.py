"""HyperLogLog over the pubkeys of what matches a filter (NIP-45, "HyperLogLog Approximation").

There are 256 registers. The filter's tag value says which bytes of a pubkey they look at, so that nobody can make keys
that count much for every target. Relays that look at the same bytes can merge their counts: the larger of each
register.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

import msgspec

from trio_relay.nostr.event import is_hex64
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import COMMENT, FOLLOWS, NOTE, REACTION, REPOST

REGISTERS: Final = 256
_LOOKED_AT: Final = 7
"""Number of bytes after the register's own whose leading zeros count; as in the reference, so a value is at most 57."""
CANONICAL: Final[frozenset[tuple[str, frozenset[int]]]] = frozenset(
    {
        ("e", frozenset({REACTION})),
        ("e", frozenset({REPOST})),
        ("q", frozenset({NOTE, COMMENT})),
        ("e", frozenset({NOTE})),
        ("E", frozenset({COMMENT})),
        ("p", frozenset({FOLLOWS})),
    }
)
"""(letter, kinds) of the filters that NIP-45 names: reactions, reposts, quotes, replies, comments, followers."""


class Sketch(msgspec.Struct, frozen=True, gc=False):
    """A count of events, and the registers of those that signed them."""

    number: int
    registers: bytes


def canonical_offset(filters: Iterable[Filter]) -> int | None:
    """Return the offset (8 to 23) for these filters; None unless they are one canonical filter with one value."""
    match list(filters):
        case [Filter(kinds=frozenset() as kinds, tags=((letter, values),)) as filter_] if len(values) == 1:
            plain = Filter(kinds=filter_.kinds, tags=filter_.tags, limit=filter_.limit)
            if filter_ == plain and (letter, kinds) in CANONICAL:
                return offset_of(next(iter(values)))
    return None


def offset_of(value: str) -> int:
    """Return the offset in a pubkey, 8 to 23, for a tag value.

    It comes from an id or a pubkey itself, from the pubkey of an address, and from the SHA-256 of any other text.
    """
    if not is_hex64(value):
        kind, _, rest = value.partition(":")
        pubkey = rest.partition(":")[0]
        value = pubkey if kind.isdigit() and is_hex64(pubkey) else sha256(value.encode()).hexdigest()
    return int(value[32], 16) + 8


def registers_of(pubkeys: Iterable[str], offset: int) -> bytes:
    """Compute the 256 registers of these pubkeys, 64 hex characters each."""
    registers = bytearray(REGISTERS)
    for pubkey in pubkeys:
        raw = bytes.fromhex(pubkey)
        place, value = observation(raw, offset)
        registers[place] = max(registers[place], value)
    return bytes(registers)


def observation(pubkey: bytes, offset: int) -> tuple[int, int]:
    """Return (register, value) of one pubkey of 32 bytes."""
    return pubkey[offset], value_of(pubkey[offset + 1 :])


def value_of(rest: bytes) -> int:
    """Return the value of the bytes after the register's own: their leading zero bits plus one."""
    looked_at = int.from_bytes(rest[:_LOOKED_AT].ljust(_LOOKED_AT, b"\xff"), "big")
    return 8 * _LOOKED_AT - looked_at.bit_length() + 1
