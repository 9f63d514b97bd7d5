"""When two spellings mean the same relay."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}


def same_relay(url: str, other: str) -> bool:
    """True if both URLs name one relay: scheme, host, port and path, in whatever spelling.

    Letter case of scheme and host, a default port, a trailing slash and a trailing dot make no difference; every
    loopback host is the same host, so that a relay tried out at home answers to `localhost`, `127.0.0.1` and `[::1]`.
    A text that is no ws, wss, http or https URL names no relay.
    """
    mine, theirs = _normal(url), _normal(other)
    return mine is not None and mine == theirs


def _normal(url: str) -> tuple[bool, str, int, str] | None:
    try:
        parts = urlsplit(url.strip())
        default, port = _PORTS[parts.scheme], parts.port
    except (ValueError, KeyError):
        return None
    if not (host := (parts.hostname or "").rstrip(".")):
        return None
    secure = parts.scheme in ("wss", "https")
    return (
        secure,
        "localhost" if is_loopback(host) else host,
        default if port is None else port,
        parts.path.rstrip("/"),
    )


def is_loopback(host: str) -> bool:
    """True for `localhost` and every address that stays on this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
