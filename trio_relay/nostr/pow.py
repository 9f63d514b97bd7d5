"""Proof of work (NIP-13): how much an id shows, and how much its author had set out to show."""

from __future__ import annotations

from trio_relay.nostr.event import Event


def difficulty_of(event_id: str) -> int:
    """The leading zero bits of an id of 64 hex characters."""
    return 256 - int(event_id, 16).bit_length()


def committed_difficulty(event: Event) -> int | None:
    """The target in the third item of the `nonce` tag; None if there is no such tag or no number in it.

    Who commits to less than he shows was lucky with cheap work (NIP-13, "Mining").
    """
    for tag in event.tags:
        if tag and tag[0] == "nonce":
            target = tag[2] if len(tag) > 2 else ""
            return int(target) if target.isascii() and target.isdigit() and len(target) <= 3 else None
    return None
