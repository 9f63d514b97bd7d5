"""HyperLogLog over the pubkeys of what matches a filter (NIP-45, "HyperLogLog Approximation").

256 registers. Where in a pubkey they look is told by the filter's tag value, so that nobody can make keys that count
much for every target; relays that agree on it can merge what they counted, the larger of each register.
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
"""Bytes behind the register's own whose leading zeros count: as in the reference, so that a value is 57 at most."""
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
    """Where the sketch of these filters looks, 8 to 23; None unless they are one canonical filter, of one value."""
    match list(filters):
        case [Filter(kinds=frozenset() as kinds, tags=((letter, values),)) as filter_] if len(values) == 1:
            plain = Filter(kinds=filter_.kinds, tags=filter_.tags, limit=filter_.limit)
            if filter_ == plain and (letter, kinds) in CANONICAL:
                return offset_of(next(iter(values)))
    return None


def offset_of(value: str) -> int:
    """Where in a pubkey the sketch of a tag value looks, 8 to 23.

    An id and a pubkey tell it themselves, an address by its pubkey, any other text by its SHA-256.
    """
    if not is_hex64(value):
        kind, _, rest = value.partition(":")
        pubkey = rest.partition(":")[0]
        value = pubkey if kind.isdigit() and is_hex64(pubkey) else sha256(value.encode()).hexdigest()
    return int(value[32], 16) + 8


def registers_of(pubkeys: Iterable[str], offset: int) -> bytes:
    """The 256 registers of these pubkeys, 64 hex characters each."""
    registers = bytearray(REGISTERS)
    for pubkey in pubkeys:
        raw = bytes.fromhex(pubkey)
        place, value = observation(raw, offset)
        registers[place] = max(registers[place], value)
    return bytes(registers)


def observation(pubkey: bytes, offset: int) -> tuple[int, int]:
    """(register, value) of one pubkey of 32 bytes."""
    return pubkey[offset], value_of(pubkey[offset + 1 :])


def value_of(rest: bytes) -> int:
    """What bytes behind the register's own count: their leading zero bits and one."""
    looked_at = int.from_bytes(rest[:_LOOKED_AT].ljust(_LOOKED_AT, b"\xff"), "big")
    return 8 * _LOOKED_AT - looked_at.bit_length() + 1
