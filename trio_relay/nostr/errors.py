"""Refusals, in NIP-01's machine-readable words.

`Rejected` is raised by parsers and returned by policies; its text goes into an OK, CLOSED or NOTICE as it is.
"""

from __future__ import annotations

from enum import StrEnum


class Prefix(StrEnum):
    """The word before the colon in OK, CLOSED and NEG-ERR messages (NIP-01, "From relay to client"; 42, 43, 77)."""

    DUPLICATE = "duplicate"
    POW = "pow"
    BLOCKED = "blocked"
    RATE_LIMITED = "rate-limited"
    INVALID = "invalid"
    RESTRICTED = "restricted"
    MUTE = "mute"
    ERROR = "error"
    AUTH_REQUIRED = "auth-required"
    UNSUPPORTED = "unsupported"
    INFO = "info"
    CLOSED = "closed"


class Rejected(Exception):
    """A refusal that may be sent to the client.

    Args:
        prefix: NIP-01's word for the kind of refusal.
        reason: one line for a human; names the field or the limit.
    """

    def __init__(self, prefix: Prefix, reason: str) -> None:
        super().__init__(prefix, reason)
        self.prefix = prefix
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.prefix}: {self.reason}"


def invalid(reason: str) -> Rejected:
    """Make the most common refusal: what was sent breaks a rule of the protocol."""
    return Rejected(Prefix.INVALID, reason)


def bad_signature() -> Rejected:
    """Make the refusal of an event whose signature is wrong (NIP-01, "Events and signatures")."""
    return invalid("sig is not a valid signature of the id by the pubkey")
