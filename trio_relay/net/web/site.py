"""What browsers get at the relay's address: the front page and its kin here, the console by whoever decides."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from http import HTTPStatus
from typing import Final, Protocol

import trio

from trio_relay.net.http_responses import Response, StreamedResponse
from trio_relay.net.vitals import VitalsSource
from trio_relay.net.web.event_pages import EventPages
from trio_relay.net.web.front import FrontPage
from trio_relay.net.web.options import WebOptions
from trio_relay.net.web.place import Place
from trio_relay.net.web.public import PublicPages
from trio_relay.net.web.rendering import SECURITY, Pages
from trio_relay.net.web.sessions import COOKIE
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.accounts import Account

CONSOLE: Final = "/admin"
_UNKEPT: Final = (("Cache-Control", "no-store"), ("X-Accel-Buffering", "no"))
"""Headers of what is neither kept nor held back on its way."""
EXPORT: Final = "/admin/export.jsonl"
_EACH_SECONDS: Final = 2.0
_MOST_EVENTS: Final = 1_800
"""On one connection: an hour; then the browser comes again."""
_STATIC: Final = re.compile(r"/static/([\w.-]+)")


class ConsoleDoor(Protocol):
    """What answers at `/admin`: a `Console`, or the way to one in another process."""

    @property
    def is_open(self) -> bool:
        """True if there is anybody who may log in."""
        ...

    async def answer(self, place: Place) -> Response:
        """The response to a request there."""
        ...


class Site:
    """Answers browsers.

    Args:
        relay: whose pages these are.
        options: the table `web` of the configuration.
        pages: templates and files.
        vitals: of the whole relay.
        console: answers at `/admin`.
    """

    def __init__(
        self, relay: Relay, options: WebOptions, pages: Pages, vitals: VitalsSource, console: ConsoleDoor
    ) -> None:
        self._pages = pages
        self._console = console
        self._relay = relay
        self._public = PublicPages(relay.rules, options, pages)
        self._events = EventPages(relay, self._public)
        self._front = FrontPage(relay, options, pages, self._public, self._events, vitals)
        self.take_options(options)

    def take_options(self, options: WebOptions) -> None:
        """Show pages by these from now on; templates and pictures stay as they were read."""
        self._robots = b"User-agent: *\nDisallow: /\n" if options.noindex else b"User-agent: *\nDisallow: /admin\n"
        self._public.noindex = options.noindex
        self._front.take_options(options)

    def takes_body(self, place: Place) -> bool:
        """True for a form or a login of the console alone."""
        return place.request.method == "POST" and self._is_console(place) and self._console.is_open

    def is_call(self, place: Place) -> bool:
        """True for what may have the deciding process work: whoever brings a cookie of the console, true or not."""
        return self._is_console(place) and self._console.is_open and COOKIE in place.cookies

    def _is_console(self, place: Place) -> bool:
        return place.path == CONSOLE or place.path.startswith(f"{CONSOLE}/")

    async def answer(self, place: Place, account_of: Callable[[str], Account]) -> Response | None:
        """The response to a GET, HEAD or POST; None if there is no such page.

        Args:
            place: of the request.
            account_of: the account of whoever is at an address, charged for what is looked up.
        """
        await self._pages.ready()
        if self._is_console(place):
            return await self._at_console(place)
        if place.request.method == "POST":
            return None
        if (named := _STATIC.fullmatch(place.path)) is not None:
            return self._pages.file(named[1], place.request)
        if place.path == "/robots.txt":
            return Response(200, self._robots)
        if (page := await self._front.answer(place)) is not None:
            return page
        return await self._events.answer(place, account_of(place.request.client))

    async def _at_console(self, place: Place) -> Response | None:
        if not self._console.is_open:
            return None
        if place.path == f"{CONSOLE}/live" and place.request.method == "GET":
            return await _following(place, self._console.answer)
        if place.path == EXPORT and place.request.method == "POST":
            return await self._exported(place)
        return await self._console.answer(place)

    async def _exported(self, place: Place) -> Response:
        """All stored events, one a line, for whom the console lets have them."""
        allowed = await self._console.answer(place)
        if allowed.status != HTTPStatus.OK:
            return allowed
        name = ("Content-Disposition", 'attachment; filename="events.jsonl"')
        return StreamedResponse(200, b"", "application/jsonl", [*SECURITY, *_UNKEPT, name], self._lines)

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._relay.stored()) as pages:
            async for page in pages:
                yield b"\n".join(page) + b"\n"


async def _following(place: Place, answer: Callable[[Place], Awaitable[Response]]) -> Response:
    """What `/admin/now.json` says, as server-sent events (WHATWG HTML, 9.2), for as long as the session lasts.

    Args:
        place: of the request.
        answer: asks the console, which looks at the session each time.
    """
    asked = replace(place, path="/admin/now.json")
    first = await answer(asked)
    if first.status != HTTPStatus.OK:
        return first

    async def pieces() -> AsyncGenerator[bytes, None]:
        for _ in range(_MOST_EVENTS):
            await trio.sleep(_EACH_SECONDS)
            told = await answer(asked)
            if told.status != HTTPStatus.OK:
                yield b"event: over\ndata: {}\n\n"
                return
            yield _event(told)

    headers = [*SECURITY, *_UNKEPT]
    return StreamedResponse(200, _event(first), "text/event-stream", headers, pieces)


def _event(told: Response) -> bytes:
    """One event: JSON has no line breaks."""
    return b"data: " + told.body + b"\n\n"
