"""What is answered over HTTP: the NIP-11 document, health, management; metrics, on a listener of their own."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Final, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

import msgspec
import trio

from trio_relay.net.addresses import UNKNOWN, UNNAMED
from trio_relay.net.http import Request
from trio_relay.net.http_responses import Response
from trio_relay.net.web.place import Place, place_at
from trio_relay.net.web.site import Site
from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.urls import plain_path
from trio_relay.plugins.base import Action, ConnectionJudge, Source, refusal_of
from trio_relay.policy.accounts import NO_ACCOUNT, Account

HEALTH: Final = "/health"
NOSTR_JSON: Final = "application/nostr+json"
HTML: Final = "text/html"
_SHOWN: Final = frozenset({"GET", "HEAD", "POST"})
_PAGE_SECONDS: Final = 0.1
_READING: Final = "GET, HEAD, OPTIONS"
_MANAGING: Final = "GET, HEAD, POST, OPTIONS"


AccountOf: TypeAlias = Callable[[str], Account]
"""The account of whoever is at an address."""


def _free(_address: str) -> Account:
    return NO_ACCOUNT


def _cors(methods: str) -> list[tuple[str, str]]:
    """NIP-11: "Relays MUST accept CORS requests by sending" these three."""
    # No wildcard stands for Authorization (Fetch, "CORS protocol").
    headers = "*" if methods == _READING else "*, Authorization"
    return [
        ("Access-Control-Allow-Origin", "*"),
        ("Access-Control-Allow-Headers", headers),
        ("Access-Control-Allow-Methods", methods),
    ]


class Management(Protocol):
    """What lets those manage the relay who may: an `AdminApi`, or the way to one in another process."""

    @property
    def is_open(self) -> bool:
        """True if there is anybody who may manage this relay."""
        ...

    async def answer(self, request: Request) -> Response:
        """The response to a POST at the relay's own URL."""
        ...


class Endpoints:
    """Answers what comes to the relay's public address.

    Args:
        document: gives the NIP-11 document as it is now.
        check: tells why the relay cannot store events now, or None.
        greeting: one line for whoever opens the address in a browser.
        management: answers operators (NIP-86); None: there are none.
        urls: the relay's names, if it has any, and other paths: the path of each is served, beside `/`, at which a
            proxy may ask that has taken the path off.
        degraded: tells what is worse than it should be while all is stored, or None.
        judge: is asked whether a client may become a WebSocket; None: nobody is.
        site: answers browsers; None: they get the greeting.
    """

    def __init__(
        self,
        document: Callable[[], bytes],
        check: Callable[[], Awaitable[str | None]],
        greeting: str,
        management: Management | None = None,
        urls: Iterable[str] = (),
        degraded: Callable[[], str | None] = lambda: None,
        judge: ConnectionJudge | None = None,
        site: Site | None = None,
    ) -> None:
        self._document = document
        self._check = check
        self._degraded = degraded
        self._judge = judge
        self._management = management
        self.take_options(greeting, urls, site)

    def take_options(self, greeting: str, urls: Iterable[str], site: Site | None) -> None:
        """Answer by these from now on; see above."""
        self._greeting = greeting
        self._site = site
        self._urls = tuple(urls)
        paths = [urlsplit(url).path or "/" for url in self._urls]
        plain = [plain_path(path) for path in paths]
        self._paths = frozenset({"/", *filter(None, plain), *(f"{path}/" for path in plain)})
        prefixes = {unquote(path).rstrip("/") for path in self._paths}
        self._prefixes = sorted({"", *prefixes}, key=len, reverse=True)
        self._elsewhere = Response(404, f"Nothing here; the relay is at {paths[0] if paths else '/'}\n".encode())

    def takes_body(self, request: Request) -> bool:
        """True for what operators call for and send alone: nothing else here reads what a request carries."""
        if request.method != "POST":
            return False
        if self._is_relay(request):
            return self._manages()
        return self._site is not None and (place := self._place(request)) is not None and self._site.takes_body(place)

    def is_call(self, request: Request) -> bool:
        """True for what only operators have reason to ask, and what costs as much, whoever asks it."""
        if self.takes_body(request):
            return True
        return self._site is not None and (place := self._place(request)) is not None and self._site.is_call(place)

    def _manages(self) -> bool:
        """True if there is anybody who may manage the relay."""
        return self._management is not None and self._management.is_open

    def _place(self, request: Request) -> Place | None:
        return place_at(request, self._prefixes, self._urls)

    def _is_relay(self, request: Request) -> bool:
        return request.path == "/" or unquote(request.path) in self._paths

    async def answer(self, request: Request, account_of: AccountOf = _free) -> Response | None:
        """The response; None for a welcome WebSocket handshake on the one endpoint (NIP-01), whatever path it has.

        Args:
            request: as it came.
            account_of: what a visitor at an address is charged on for what its page takes.
        """
        is_relay = self._is_relay(request)
        if not is_relay and request.path != HEALTH:
            return await self._shown(request, account_of) or self._elsewhere
        management = self._management if is_relay and self._manages() else None
        methods = _READING if management is None else _MANAGING
        if request.method == "OPTIONS":
            return Response(204, headers=[*_cors(methods), ("Allow", methods)])
        if request.method == "POST" and management is not None:
            response = await management.answer(request)
            return replace(response, headers=[*response.headers, *_cors(methods)])
        if request.method not in ("GET", "HEAD"):
            return Response(405, f"{methods} only\n".encode(), headers=[("Allow", methods)])
        if not is_relay:
            return await self._health()
        if request.wants_websocket:
            return None if self._judge is None else await _judged(self._judge, request.client)
        if accepts(request.headers.get("accept", ""), NOSTR_JSON):
            return Response(200, self._document(), NOSTR_JSON, [*_cors(methods), ("Vary", "Accept")])
        if (
            accepts(request.headers.get("accept", ""), HTML)
            and (page := await self._shown(request, account_of)) is not None
        ):
            return replace(page, headers=[*page.headers, *_cors(methods), ("Vary", "Accept")])
        return Response(200, self._greeting.encode(), headers=[*_cors(methods), ("Vary", "Accept")])

    async def _shown(self, request: Request, account_of: AccountOf) -> Response | None:
        """A page for browsers; None if there is none here."""
        if self._site is None or (place := self._place(request)) is None or request.method not in _SHOWN:
            return None
        return await self._site.answer(place, account_of)

    async def _health(self) -> Response:
        failure = await self._check()
        body = {"status": "ok"} if failure is None else {"status": "failing", "reason": failure}
        if failure is None and (reason := self._degraded()) is not None:
            body = {"status": "degraded", "reason": reason}
        status = 200 if failure is None else 503
        return Response(status, msgspec.json.encode(body), "application/json", [("Cache-Control", "no-store")])


async def _judged(judge: ConnectionJudge, client: str) -> Response | None:
    """The refusal of a client, in the judge's words; None if it is welcome."""
    verdict = await judge.judge_connection(Source("" if client in (UNKNOWN, UNNAMED) else client))
    if verdict.action is Action.ACCEPT:
        return None
    refusal = refusal_of(verdict)
    status = 503 if refusal.prefix is Prefix.ERROR else 403
    return Response(status, f"{refusal}\n".encode(), headers=[("Connection", "close")])


class MetricsEndpoint:
    """Answers `/metrics` on a listener of its own.

    A page takes the loop for milliseconds, so there are ten a second at most, and who asks meanwhile waits.

    Args:
        render: gives the metrics as text and their content type.
        gather: is awaited before each page, in bounded time: it asks other processes for their numbers.
    """

    def __init__(
        self, render: Callable[[], tuple[bytes, str]], gather: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self._render = render
        self._gather = gather
        self._turns = trio.Lock()
        self._next = -math.inf

    async def answer(self, request: Request) -> Response | None:
        """The response."""
        if request.path != "/metrics":
            return Response(404, b"Nothing here; the metrics are at /metrics\n")
        if request.method not in ("GET", "HEAD"):
            return Response(405, b"GET only\n", headers=[("Allow", "GET, HEAD")])
        async with self._turns:
            await trio.sleep_until(self._next)
            self._next = trio.current_time() + _PAGE_SECONDS
            if self._gather is not None:
                await self._gather()
            body, content_type = self._render()
        return Response(200, body, content_type)


def accepts(accept: str, wanted: str) -> bool:
    """True if an Accept header names this media type with a quality above 0 (RFC 9110, section 12.5.1).

    Wildcards do not count: a browser sends them, and wants the page for humans; so do tools, which want text.
    """
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        if media_type == wanted:
            return not any(_is_zero(parameter) for parameter in parameters)
    return False


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    try:
        return name.strip() == "q" and float(value) == 0
    except ValueError:
        return False
