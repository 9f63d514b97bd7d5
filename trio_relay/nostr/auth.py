"""Authentication events: NIP-42 (WebSocket) and NIP-98 (HTTP), checked against what they are meant for.

Signatures are not checked here: they cost most, so the caller has them verified once everything else is right.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection
from hashlib import sha256
from hmac import compare_digest
from typing import Final

import msgspec

from trio_relay.nostr.errors import Rejected, invalid
from trio_relay.nostr.event import Event, check_shape, decode, id_matches
from trio_relay.nostr.kinds import CLIENT_AUTH, HTTP_AUTH
from trio_relay.nostr.urls import same_relay, same_url

CLIENT_AUTH_SECONDS: Final = 600
"""How far the time of a NIP-42 event may be from the relay's, either way."""
HTTP_AUTH_SECONDS: Final = 60
"""How far the time of a NIP-98 event may be from the relay's, either way."""

_MOST_HEADER: Final = 8_192
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_BASE64: Final = re.compile("(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)={0,2}")
_STANDARD: Final = str.maketrans("-_", "+/")


def check_auth(event: Event, challenge: str, relay_url: str, now: int, also: Collection[str] = ()) -> Rejected | None:
    """Return why an event does not authenticate a client on this connection, or None (NIP-42).

    The caller verifies the signature (see NIP-42, "Signed Event Verification").

    Args:
        event: of the right shape.
        challenge: the latest one sent on the connection.
        relay_url: the relay's public address, a ws or wss URL.
        now: seconds since 1970.
        also: other URLs at which it can be reached.
    """
    if (refusal := _check_head(event, CLIENT_AUTH, CLIENT_AUTH_SECONDS, now)) is not None:
        return refusal
    if not _same(_first(event, "challenge"), challenge):
        return invalid("the challenge tag is not the challenge of this connection")
    url = _first(event, "relay")
    if url is None or not any(same_relay(url, known) for known in (relay_url, *also)):
        return invalid(f"the relay tag does not name this relay, {relay_url}")
    return None


def parse_http_auth(header: str) -> Event:
    """Parse an `Authorization` header: `Nostr` in any case, a space, the event's JSON in base64 (NIP-98).

    Both alphabets of base64 are taken, with or without padding. The event has the right shape; everything else about
    it is still to be checked.

    Raises:
        Rejected: it is too long, of another scheme, or holds no event.
    """
    if len(header) > _MOST_HEADER:
        raise invalid(f"Authorization has more than {_MOST_HEADER} characters")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "nostr":
        raise invalid("Authorization must have the scheme Nostr")
    try:
        event = decode(_decoded(token.strip(" ")))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise invalid("Authorization does not hold an event") from None
    if (fault := check_shape(event)) is not None:
        raise invalid(fault)
    return event


def check_http_auth(
    event: Event, *, url: str, method: str, body: bytes, now: int, also: Collection[str] = ()
) -> Rejected | None:
    """Return why an event does not authorise an HTTP request, or None (NIP-98, "Nostr event").

    The caller verifies the signature, and that the event is used for the first time.

    Args:
        event: from `parse_http_auth`.
        url: the absolute URL of the request with its query; the public one, where a proxy stands in front. It may be
            written as ws or wss.
        method: the request's, in upper case.
        body: the request's. The `payload` tag must hold its SHA-256 if there is one, and with POST, PUT and PATCH.
        now: seconds since 1970.
        also: other URLs of the same request.
    """
    if (refusal := _check_head(event, HTTP_AUTH, HTTP_AUTH_SECONDS, now)) is not None:
        return refusal
    named = _first(event, "u")
    if named is None or not any(same_url(named, known) for known in (url, *also)):
        return invalid(f"the u tag is not the URL of this request, {url}")
    if _first(event, "method") != method:
        return invalid(f"the method tag is not the method of this request, {method}")
    payload = _first(event, "payload")
    if payload is None:
        needed = body or method in _WITH_BODY
        return invalid("the payload tag is missing; it holds the SHA-256 of the body") if needed else None
    if not _same(payload.lower(), sha256(body).hexdigest()):
        return invalid("the payload tag is not the SHA-256 of the body")
    return None


def _check_head(event: Event, kind: int, seconds: int, now: int) -> Rejected | None:
    """Check what both kinds of event must have in common."""
    if event.kind != kind:
        return invalid(f"kind must be {kind}")
    if abs(event.created_at - now) > seconds:
        return invalid(f"created_at is more than {seconds} seconds from the relay's time")
    if not id_matches(event):
        return invalid("id is not the hash of the event")
    return None


def _first(event: Event, name: str) -> str | None:
    """Return the value of the first tag with this name; None if there is no such tag, or it has no value."""
    tag = next((tag for tag in event.tags if tag and tag[0] == name), [])
    return tag[1] if len(tag) > 1 else None


def _same(text: str | None, expected: str) -> bool:
    """Return True if they are equal; takes equally long however much of them differs."""
    return text is not None and compare_digest(text.encode(), expected.encode())


def _decoded(token: str) -> bytes:
    digits = token.rstrip("=")
    whole = len(token) % 4 == 0 if len(digits) < len(token) else len(digits) % 4 != 1
    if not whole or _BASE64.fullmatch(token) is None:
        raise invalid("Authorization must be base64 after its scheme")
    return b64decode(digits.translate(_STANDARD) + "=" * (-len(digits) % 4))
