"""What goes on at the console by itself: its numbers, again and again, as server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Final

import trio

from trio_relay.net.http_responses import Response, StreamedResponse
from trio_relay.net.web.place import Place
from trio_relay.net.web.rendering import SECURITY

_EACH_SECONDS: Final = 2.0
_MOST_EVENTS: Final = 1_800
"""On one connection: an hour; then the browser comes again."""


async def following(place: Place, answer: Callable[[Place], Awaitable[Response]]) -> Response:
    """What `/admin/now.json` says, as events, for as long as the session lasts.

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

    headers = [*SECURITY, ("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")]
    return StreamedResponse(200, _event(first), "text/event-stream", headers, pieces)


def _event(told: Response) -> bytes:
    """One event: JSON has no line breaks."""
    return b"data: " + told.body + b"\n\n"
