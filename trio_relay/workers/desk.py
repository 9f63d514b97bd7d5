"""A worker's side of what its keeper decides once for all workers, and of what it alone knows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import trio

from trio_relay.link import Link, LinkEnded
from trio_relay.net.admin.api import Gate
from trio_relay.net.http import Request
from trio_relay.net.http_responses import Response
from trio_relay.net.vitals import Point, Span
from trio_relay.net.web.console import Console
from trio_relay.net.web.place import Place
from trio_relay.net.web.sessions import COOKIE
from trio_relay.nostr.event import Event
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.lists import Change
from trio_relay.store.kept import ask
from trio_relay.workers.instructions import (
    Joining,
    Reported,
    encode,
    health_of,
    points_of,
    response_of,
    verdict_of,
)

KEEPER_GONE: Final = "the keeper is gone"
_FRESH_SECONDS: Final = 1.0
"""How old what the keeper has told of the relay may be: anybody may ask."""


class Desk:
    """What a worker asks its keeper: what is decided once, for all workers."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._degraded = ""

    async def amend(self, changes: Sequence[Change]) -> None:
        await ask(self._link, "amend", encode(changes), KEEPER_GONE)

    async def join(self, request: Event, origin: str | None) -> tuple[bool, str]:
        try:
            verdict = verdict_of(await self._link.call("join", encode(Joining(request, origin))))
        except LinkEnded:
            return False, f"error: {KEEPER_GONE}"
        return verdict.accepted, verdict.reason

    def note_reports(self, reports: Iterable[Event], origins: Mapping[str, str | None]) -> None:
        self._link.tell("reports", encode(Reported(list(reports), dict(origins))))

    async def check(self) -> str | None:
        """Why the relay, this process or another, cannot store events now, or None."""
        try:
            health = health_of(await self._link.call("check"))
        except LinkEnded:
            return KEEPER_GONE
        self._degraded = health.degraded
        return health.trouble or None

    def degraded(self) -> str | None:
        """What was worse than it should be beside the keeper's relay when `check` was last asked, or None."""
        return self._degraded or None

    async def manage(self, request: Request) -> Response:
        """The keeper's response to an operator's call."""
        return await self._respond("admin", request)

    async def answer(self, place: Place) -> Response:
        """The keeper's response to a request at the console."""
        return await self._respond("console", place)

    async def _respond(self, name: str, asked: Request | Place) -> Response:
        try:
            return response_of(await self._link.call(name, encode(asked)))
        except LinkEnded:
            return Response(503, f"{KEEPER_GONE}\n".encode())

    async def vitals(self, span: Span | None) -> list[Point]:
        """How the whole relay did over that time, or how it is now, one point; nothing once the keeper is gone."""
        try:
            return points_of(await self._link.call("vitals", (span or "").encode()))
        except LinkEnded:
            return []


class RemoteVitals:
    """How the whole relay does, as the keeper tells it, a second ago at most.

    Args:
        desk: leads to the keeper.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._kept: dict[Span | None, tuple[float, list[Point]]] = {}

    async def now(self) -> Point:
        points = await self._ask(None)
        return points[-1] if points else Point(time.time(), {})

    async def over(self, span: Span) -> list[Point]:
        return await self._ask(span)

    async def _ask(self, span: Span | None) -> list[Point]:
        if (kept := self._kept.get(span)) is not None and trio.current_time() < kept[0] + _FRESH_SECONDS:
            return kept[1]
        told = await self._desk.vitals(span)
        self._kept[span] = trio.current_time(), told
        return told


class RemoteConsole:
    """Passes on to the keeper what is asked of the console by who may be logged in; all others are asked in here.

    Args:
        desk: leads to the keeper.
        doorway: a console in which nobody is logged in.
    """

    def __init__(self, desk: Desk, doorway: Console) -> None:
        self._desk = desk
        self._doorway = doorway

    @property
    def is_open(self) -> bool:
        return self._doorway.is_open

    async def answer(self, place: Place) -> Response:
        is_stranger = place.request.method in ("GET", "HEAD") and COOKIE not in place.cookies
        return await (self._doorway if is_stranger else self._desk).answer(place)


class RemoteAdmin:
    """Passes on to the keeper what operators call for; all others are refused here, and cost nobody else anything.

    Args:
        relay: of this worker, which goes by the same lists.
        desk: leads to the keeper.
    """

    def __init__(self, relay: Relay, desk: Desk) -> None:
        self._relay = relay
        self._gate = Gate(relay)
        self._desk = desk

    @property
    def is_open(self) -> bool:
        """True if there is anybody who may manage this relay."""
        return self._relay.rules.is_managed

    async def answer(self, request: Request) -> Response:
        """The response to a POST at the relay's own URL."""
        return await self._gate.refusal(request) or await self._desk.manage(request)
