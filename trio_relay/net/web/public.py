"""What all pages for everybody have in common: how the relay is called, where it is, and what is said to robots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import msgspec

from trio_relay.net.http_responses import Response
from trio_relay.net.web.options import WebOptions
from trio_relay.net.web.place import Place
from trio_relay.net.web.rendering import SECURITY, Pages
from trio_relay.nostr.relay_info import RelayInfo
from trio_relay.policy.capabilities import relay_info_of
from trio_relay.policy.rules import Rules
from trio_relay.version import __version__

_ROBOTS: Final = ("X-Robots-Tag", "noindex, nofollow")
ANYBODY: Final = ("Access-Control-Allow-Origin", "*")


@dataclass(frozen=True, slots=True)
class Head:
    """What is said of a page to those who link to it (Open Graph).

    Attributes:
        title: one line.
        summary: a few; may be empty.
        type: `website`, `profile` or `article`.
        path: the page's own, below the relay's; empty: it has no lasting one.
        has_json: True if there is JSON behind it, too.
    """

    title: str
    summary: str
    type: str
    path: str
    has_json: bool = False


class PublicPages:
    """Makes pages for everybody, and what stands in for them.

    Args:
        rules: have the relay's name and addresses, as they are now.
        options: the table `web` of the configuration.
        pages: have the templates.
    """

    def __init__(self, rules: Rules, options: WebOptions, pages: Pages) -> None:
        self._rules = rules
        self._pages = pages
        self.noindex = options.noindex
        """True: robots are asked to leave all pages out."""

    def facts(self, place: Place) -> dict[str, object]:
        """What every template for everybody gets.

        Nothing of it is up to the visitor, but which of the relay's own names it came by.
        """
        info = relay_info_of(self._rules)
        address = address_of(place.origin, self._rules.names)
        home = home_of(self._rules.relay_url)
        return {
            "root": place.root,
            "name": info.name,
            "address": address,
            "home": home,
            "picture": f"{home}static/icon" if home and self._pages.has("icon") else "",
            "has_icon": self._pages.has("icon"),
            "noindex": self.noindex,
            "version": __version__,
        }

    async def page(
        self, place: Place, template: str, head: Head, facts: dict[str, object], status: int = 200
    ) -> Response:
        """A page, with `facts` of its own beside those that all have."""
        made = await self._pages.page_in_turns(template, self.facts(place) | {"head": head} | facts, status)
        return Response(made.status, made.body, made.content_type, [*SECURITY, *self._robots()])

    def json(self, body: bytes) -> Response:
        """JSON that pages of others may read, too."""
        return Response(200, body, "application/json", [*SECURITY, *self._robots(), ANYBODY])

    async def sorry(self, place: Place, status: int, title: str, reason: str, *, as_json: bool = False) -> Response:
        """What is shown where there is nothing to be shown, always the same for the same arguments."""
        if as_json:
            body = msgspec.json.encode({"error": reason})
            return Response(status, body, "application/json", [*SECURITY, ANYBODY, ("Cache-Control", "no-store")])
        made = await self.page(place, "sorry.html", Head(title, "", "website", ""), {"reason": reason}, status)
        return Response(status, made.body, made.content_type, [*made.headers, ("Cache-Control", "no-store")])

    def _robots(self) -> list[tuple[str, str]]:
        return [_ROBOTS] if self.noindex else []


def kept_for(response: Response, seconds: int, place: Place) -> Response:
    """The same response for visitors to keep for a while; 304 for one that has it already (RFC 9110, 13.1.2)."""
    tag = f'"{sha256(response.body).hexdigest()[:20]}"'
    headers = [*response.headers, ("Cache-Control", f"public, max-age={seconds}"), ("ETag", tag)]
    known = [one.strip().removeprefix("W/") for one in place.request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(304, b"", response.content_type, headers)
    return Response(response.status, response.body, response.content_type, headers)


def address_of(origin: str, names: Iterable[str]) -> str:
    """The name of the relay by which a visitor came, or else its first one; empty if it has none.

    Args:
        origin: of the page, as the visitor's browser sees it.
        names: the relay's URLs, the public one first.
    """
    known = tuple(names)
    host = urlsplit(origin).netloc
    return next((name for name in known if urlsplit(name).netloc.lower() == host), known[0] if known else "")


def home_of(relay_url: str) -> str:
    """The URL of the front page, which ends with a slash; empty if the relay has none."""
    if not relay_url:
        return ""
    parts = urlsplit(relay_url)
    scheme = "https" if parts.scheme == "wss" else "http"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/"


def with_pictures(info: RelayInfo, options: WebOptions, relay_url: str) -> RelayInfo:
    """The relay's description with the pictures of its pages, where it names no others and has an address."""
    home = home_of(relay_url) if options.enabled else ""
    if home and options.icon and not info.icon:
        info = msgspec.structs.replace(info, icon=f"{home}static/icon")
    if home and options.banner and not info.banner:
        info = msgspec.structs.replace(info, banner=f"{home}static/banner")
    return info
