"""By which names the relay may be called, and which web pages may speak with it (pure, no I/O)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from trio_relay.net.http import Request
from trio_relay.net.http_responses import Response
from trio_relay.nostr.urls import ascii_host

_ALLOWED_ORIGIN: Final = "Access-Control-Allow-Origin"
_LABEL: Final = "[0-9a-z_](?:[0-9a-z_-]*[0-9a-z_])?"
_NAME: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_AUTHORITY: Final = re.compile(r"[a-z][a-z0-9+.-]*://([^/?#]*)", re.IGNORECASE)
_PORT: Final = re.compile(r":[0-9]*\Z")


class Names:
    """Names of hosts: exact ones, and such as `*.example.org`, which is every name below that, and not that itself.

    Args:
        names: without ports; an IPv6 address with brackets or without.

    Raises:
        ValueError: one of them is no name; the message names it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        plain = [_checked(name) for name in names]
        self._exact = frozenset(name for name in plain if not name.startswith("*"))
        self._endings = tuple(name[1:] for name in plain if name.startswith("*"))

    def __bool__(self) -> bool:
        return bool(self._exact or self._endings)

    def cover(self, host: str) -> bool:
        """True if a host is one of these, in whatever way it is written."""
        plain = plain_host(host)
        return plain in self._exact or (not plain.startswith(".") and plain.endswith(self._endings))


def plain_host(host: str) -> str:
    """Return a host as hosts are compared: in lower case, in letters of the network, addresses in their shortest form.

    Args:
        host: without a port.
    """
    plain = ascii_host(host.removesuffix(".").lower())
    return _address(plain) or plain


def _address(host: str) -> str | None:
    try:
        return str(ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host))
    except ValueError:
        return None


def _checked(name: str) -> str:
    plain = plain_host(name)
    if _address(plain) is None and not _NAME.fullmatch(plain):
        raise ValueError(f"{name!r} is no name of a host, nor *. and one")
    return plain


class Welcome:
    """Turns away requests for other hosts, and WebSockets of other pages.

    Args:
        hosts: by which the relay may be called; empty: by all.
        origins: hosts of pages that may speak with it; empty: all may.

    Raises:
        ValueError: one of them is no name; the message names it.
    """

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._hosts = Names(hosts)
        self._origins = Names(origins)

    def refusal(self, request: Request) -> Response | None:
        """Why a request is not answered (RFC 9110, section 15.5.20; RFC 6455, section 4.2.2), or None."""
        if self._hosts and not self._hosts.cover(host_asked(request)):
            return Response(421, b"not served under this name\n")
        if request.wants_websocket and not self._welcomes_origin(request):
            return Response(403, b"pages of this origin may not connect\n")
        return None

    def _welcomes_origin(self, request: Request) -> bool:
        """True for who is no web page, too: only browsers say, for their users' sake, which page speaks."""
        origin = request.headers.get("origin")
        return not self._origins or origin is None or self._origins.cover(_host_of(origin))

    def answered(self, request: Request, response: Response) -> Response:
        """The same response; where not all pages may read it, it names the one that may (Fetch, "CORS protocol")."""
        if not self._origins or not any(name == _ALLOWED_ORIGIN for name, _ in response.headers):
            return response
        kept = [header for header in response.headers if header[0] != _ALLOWED_ORIGIN]
        kept.append(("Vary", "Origin"))
        if "origin" in request.headers and self._welcomes_origin(request):
            kept.append((_ALLOWED_ORIGIN, request.headers["origin"]))
        return replace(response, headers=kept)


def host_asked(request: Request) -> str:
    """The host that a request is for, without a port: of its target before its Host (RFC 9112, section 3.2.2)."""
    absolute = _AUTHORITY.match(request.target)
    authority = request.headers.get("host", "") if absolute is None else absolute[1].rpartition("@")[2]
    return _PORT.sub("", authority)


def _host_of(origin: str) -> str:
    """The host of an origin (RFC 6454, section 7), without a port; empty for `null` and what is none."""
    try:
        parts = urlsplit(origin)
        return "" if parts.path or parts.query or parts.fragment else parts.hostname or ""
    except ValueError:
        return ""
