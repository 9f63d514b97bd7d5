"""Proof of work (NIP-13): the difficulty that an id shows, and the difficulty that its author committed to."""

from __future__ import annotations

from trio_relay.nostr.event import Event


def difficulty_of(event_id: str) -> int:
    """Count the leading zero bits of an id of 64 hex characters."""
    return 256 - int(event_id, 16).bit_length()


def committed_difficulty(event: Event) -> int | None:
    """Return the target in the third item of the `nonce` tag; None if there is no such tag or no number in it.

    An id with more zeros than its target was lucky, not worked for (NIP-13, "Mining").
    """
    for tag in event.tags:
        if tag and tag[0] == "nonce":
            target = tag[2] if len(tag) > 2 else ""
            return int(target) if target.isascii() and target.isdigit() and len(target) <= 3 else None
    return None
