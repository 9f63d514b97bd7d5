"""One event: its seven fields, its id, what its kind means, and which of two versions stands (NIP-01)."""

from __future__ import annotations

import re
from hashlib import sha256
from itertools import chain
from typing import Final

import orjson

from trio_relay.nostr.event_fields import Event, decode, encode
from trio_relay.nostr.kinds import GIFT_WRAP, MAX_KIND, is_addressable, is_ephemeral, is_replaceable

__all__ = [
    "MAX_TIME",
    "Event",
    "address_of",
    "check_shape",
    "claimants",
    "compute_id",
    "decode",
    "deletion_targets",
    "encode",
    "expiry_of",
    "has_expired",
    "has_readable_expiry",
    "id_matches",
    "is_hex",
    "is_hex64",
    "is_protected",
    "recipients",
    "single_letter_tags",
    "supersedes",
    "tag_values",
]

MAX_TIME: Final = 2**33 - 1
"""The latest `created_at` that is taken; seconds since 1970, reached in the year 2242."""

_MOST_DIGITS: Final = 18
_HEX64: Final = re.compile("[0-9a-f]{64}")


def check_shape(event: Event) -> str | None:
    """Return what is wrong with the first bad field, as a sentence, or None (NIP-01, "Events and signatures")."""
    event_id, pubkey, sig = event.id, event.pubkey, event.sig
    # One look at the three joined costs less than a look at each.
    if not (len(event_id) == 64 and len(pubkey) == 64 and len(sig) == 128 and is_hex(event_id + pubkey + sig)):
        if not is_hex64(event_id):
            return "id must be 64 lowercase hex characters"
        if not is_hex64(pubkey):
            return "pubkey must be 64 lowercase hex characters"
        return "sig must be 128 lowercase hex characters"
    if not 0 <= event.kind <= MAX_KIND:
        return f"kind must be between 0 and {MAX_KIND}"
    if not 0 <= event.created_at <= MAX_TIME:
        return f"created_at must be between 0 and {MAX_TIME}"
    return None


def is_hex(text: str) -> bool:
    """Return True for lowercase hex of an even length; empty is such, too."""
    # Decoding and encoding costs a third of a pattern, and there is much of it.
    try:
        return bytes.fromhex(text).hex() == text
    except ValueError:
        return False


def is_hex64(text: str) -> bool:
    """True for an id or a pubkey: 64 lowercase hex characters."""
    return _HEX64.fullmatch(text) is not None


_NOT_CONTROL: Final = bytes(byte for byte in range(256) if byte >= 32 or byte in b"\n\r\t\b\f")
"""All but the control characters that NIP-01 sends verbatim and JSON encoders escape."""
_LONG: Final = 65_536
_MOST_CONTROLS: Final = 4
"""Different ones in a long event: each costs a look at all of it, and texts for terminals hold one or two."""
_MOST_PLACES: Final = 32_768
"""Of such characters in an event."""


def id_matches(event: Event) -> bool:
    """True if `event.id` is the SHA-256 of the event's canonical array (NIP-01, "Events and signatures").

    Control characters without an escape of their own stand verbatim in NIP-01's form, but JSON encoders write them as
    `\\u00xx`, and clients built on those hash that form: both are taken. Of an event with more than 32,768 of them, or
    of more than 64 KiB with more than four different ones, only the latter is.
    """
    common = orjson.dumps([0, event.pubkey, event.created_at, event.kind, event.tags, event.content])
    if sha256(common).hexdigest() == event.id:
        return True
    if not 0 < common.count(b"\\u00") <= _MOST_PLACES:  # without any both forms are the same bytes
        return False
    controls = _controls(event.tags, event.content)
    if len(common) > _LONG and len(controls) > _MOST_CONTROLS:
        return False
    return sha256(_verbatim(common, controls)).hexdigest() == event.id


def _controls(tags: list[list[str]], content: str) -> set[int]:
    """Return which control characters an event holds verbatim in NIP-01's form."""
    text = "".join([content, *chain.from_iterable(tags)])
    return set(text.encode().translate(None, _NOT_CONTROL))


def _verbatim(common: bytes, controls: set[int]) -> bytes:
    """Return the canonical array exactly as NIP-01 says: seven characters are escaped, all others stand as they are.

    Once for each character, since once for each place takes many times as long.
    """
    if controls:
        common = common.replace(rb"\\", b"\xff")  # which is no UTF-8: what follows is not taken for an escape
        for control in controls:
            common = common.replace(b"\\u%04x" % control, bytes([control]))
        common = common.replace(b"\xff", rb"\\")
    return common


def compute_id(pubkey: str, created_at: int, kind: int, tags: list[list[str]], content: str) -> str:
    """Compute the id of an event with these fields, 64 hex characters, in NIP-01's verbatim form."""
    common = orjson.dumps([0, pubkey, created_at, kind, tags, content])
    return sha256(_verbatim(common, _controls(tags, content))).hexdigest()


def address_of(event: Event) -> str | None:
    """Return `kind:pubkey:d` of a replaceable (d is empty) or addressable event; None for other kinds."""
    if is_replaceable(event.kind):
        return f"{event.kind}:{event.pubkey}:"
    if is_addressable(event.kind):
        d = next((tag[1] if len(tag) > 1 else "" for tag in event.tags if tag and tag[0] == "d"), "")
        return f"{event.kind}:{event.pubkey}:{d}"
    return None


def supersedes(created_at: int, event_id: str, other_created_at: int, other_id: str) -> bool:
    """Return True if the first of two versions replaces the other: it is newer, or as old with a lower id (NIP-01)."""
    return (-created_at, event_id) < (-other_created_at, other_id)


def single_letter_tags(event: Event) -> set[tuple[str, str]]:
    """Return each (letter, first value) that filters can ask for: single ASCII letters alone (NIP-01, "Tags")."""
    return {
        (tag[0], tag[1])
        for tag in event.tags
        if len(tag) > 1 and len(tag[0]) == 1 and tag[0].isascii() and tag[0].isalpha()
    }


def tag_values(event: Event) -> dict[str, set[str]]:
    """Return the values that filters can ask for, by letter; see `single_letter_tags`."""
    values: dict[str, set[str]] = {}
    for letter, value in single_letter_tags(event):
        values.setdefault(letter, set()).add(value)
    return values


def recipients(event: Event) -> list[str]:
    """Return the pubkeys in an event's `p` tags, each once, in their order."""
    return list(dict.fromkeys(tag[1] for tag in event.tags if len(tag) > 1 and tag[0] == "p" and is_hex64(tag[1])))


def claimants(event: Event) -> list[str]:
    """Return the keys that may delete an event: its author's, and for a gift wrap its recipients' (NIP-09, NIP-59)."""
    return [event.pubkey, *recipients(event)] if event.kind == GIFT_WRAP else [event.pubkey]


def expiry_of(event: Event) -> int | None:
    """Return when an event expires (NIP-40), seconds since 1970; None if never or if the tag holds no number."""
    text = _expiration(event)
    # No clock reaches so many digits; SQLite could not hold more.
    return int(text) if text is not None and _is_digits(text) and len(text) <= _MOST_DIGITS else None


def has_readable_expiry(event: Event) -> bool:
    """Return False if the event says that it expires, but not when: in no digits, such as "1e9" or "soon" (NIP-40)."""
    text = _expiration(event)
    return text is None or _is_digits(text)


def _expiration(event: Event) -> str | None:
    """Return what the first `expiration` tag says; None if there is no such tag."""
    for tag in event.tags:
        if tag and tag[0] == "expiration":
            return tag[1] if len(tag) > 1 else ""
    return None


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def has_expired(event: Event, now: int) -> bool:
    """Return True if it has expired at `now`, seconds since 1970; ephemeral events never have (NIP-40)."""
    expiry = expiry_of(event)
    return expiry is not None and expiry <= now and not is_ephemeral(event.kind)


def is_protected(event: Event) -> bool:
    """Return True if only its author may publish it (NIP-70)."""
    return any(tag and tag[0] == "-" for tag in event.tags)


def deletion_targets(event: Event) -> tuple[set[str], set[str]]:
    """Return the (ids, addresses) that a kind 5 asks to delete and may delete (NIP-09).

    An address names its author, so addresses of other authors are left out here; an id does not, so the author has to
    be compared with the event itself. An address of a kind that has no addresses, such as `1:…`, deletes nothing.
    """
    ids: set[str] = set()
    addresses: set[str] = set()
    for tag in event.tags:
        if len(tag) < 2:
            continue
        if tag[0] == "e" and is_hex64(tag[1]):
            ids.add(tag[1])
        elif tag[0] == "a" and (address := _own_address(tag[1], event.pubkey)):
            addresses.add(address)
    return ids, addresses


def _own_address(text: str, pubkey: str) -> str | None:
    kind, _, rest = text.partition(":")
    author, second_colon, d = rest.partition(":")  # d may hold colons of its own
    if author != pubkey or not (_is_digits(kind) and len(kind) <= 5):
        return None
    number = int(kind)
    if is_addressable(number) and second_colon:
        return f"{number}:{pubkey}:{d}"
    if is_replaceable(number) and not d:
        return f"{number}:{pubkey}:"
    return None
