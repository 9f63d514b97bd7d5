"""The console at `/admin`: who is logged in, what they ask for, and what comes of it.

All that it shows and does are methods of NIP-86, called for whoever is logged in (`AdminApi.perform`): what a key may
do is decided there, and noted there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import msgspec

from trio_relay.net.admin.api import AdminApi
from trio_relay.net.http_responses import Response
from trio_relay.net.web.login import Login, refused_origin
from trio_relay.net.web.place import Place
from trio_relay.net.web.rendering import SECURITY, Pages
from trio_relay.net.web.sessions import COOKIE, ConsoleSession, Sessions
from trio_relay.nostr.errors import Rejected

_NO_STORE: Final = ("Cache-Control", "no-store")
_MOST_PARAMS: Final = 10
_FROM: Final[dict[str, Callable[[str], object]]] = {"s": str, "n": int, "j": msgspec.json.decode}
"""How a form's fields become parameters, by the first letter of their names: a text, a number, JSON."""


@dataclass(frozen=True, slots=True)
class ConsoleVisit:
    """One request of somebody who is logged in.

    Attributes:
        place: of the request.
        session: theirs.
        api: carries out what they call for.
        pages: have the templates.
    """

    place: Place
    session: ConsoleSession
    api: AdminApi
    pages: Pages

    async def call(self, method: str, *params: object) -> Any:
        """What a method answers, as JSON has it.

        Raises:
            Rejected: they may not call it, or it failed.
        """
        return await self.api.perform(method, params, self.session.caller, self.place.request.client)

    async def show(self, template: str, facts: Mapping[str, object], status: int = 200) -> Response:
        """A page of the console; `facts` is its own, beside what all of them have."""
        query = self.place.query
        common: dict[str, object] = {
            "root": self.place.root,
            "path": self.place.path,
            "caller": self.session.caller,
            "ends": self.session.ends,
            "form_token": self.session.form_token,
            "methods": frozenset(await self.call("supportedmethods")),
            "said": query.get("said", ""),
            "failed": query.get("failed", ""),
        }
        return self.pages.page(template, {**common, **facts}, status)


View: TypeAlias = Callable[[ConsoleVisit], Awaitable[Response]]


class Console:
    """Answers whoever manages the relay in a browser.

    Args:
        api: decides, and carries out.
        pages: have the templates.
        login: lets people in.
        sessions: of those who are.
        views: by the last part of the path, what makes each page; the empty one is the first page.
    """

    def __init__(
        self, api: AdminApi, pages: Pages, login: Login, sessions: Sessions, views: Mapping[str, View]
    ) -> None:
        self._api = api
        self._pages = pages
        self._login = login
        self._sessions = sessions
        self._views = views

    @property
    def is_open(self) -> bool:
        """True if there is anybody who may log in."""
        return self._login.is_open

    async def answer(self, place: Place) -> Response:
        """The response to a request at `/admin` or below it."""
        await self._pages.ready()
        name = place.path.removeprefix("/admin").strip("/")
        if place.request.method == "POST" and (refusal := refused_origin(place)) is not None:
            return refusal
        if name in ("login", "enter"):
            return await self._let_in(name, place)
        session = self._sessions.find(place.cookies.get(COOKIE, ""), self._login.now())
        if session is None or not self._login.may_enter(session.caller):
            return self._ask_in(place, 401 if "." in name or place.request.method == "POST" else 200)
        visit = ConsoleVisit(place, session, self._api, self._pages)
        if place.request.method == "POST":
            return await self._act(name, visit)
        return await self._shown(name, visit)

    def _ask_in(self, place: Place, status: int, reason: str = "") -> Response:
        """The page at which people log in."""
        return self._pages.page("login.html", self._login.facts(place) | {"failed": reason}, status)

    async def _let_in(self, name: str, place: Place) -> Response:
        if place.request.method != "POST":
            token = place.query.get("token", "") if name == "enter" else ""
            return self._pages.page("login.html", self._login.facts(place) | {"token": token, "failed": ""})
        try:
            caller = await (self._login.by_key(place) if name == "login" else self._login.by_link(place))
        except Rejected as refusal:
            if name == "login":
                return _told(401, {"error": str(refusal)})
            return self._ask_in(place, 401, str(refusal))
        session = self._sessions.open(caller, self._login.now())
        cookie = self._cookie(place, session.cookie, int(session.ends - self._login.now()))
        to = f"{place.root}/admin"
        return _told(200, {"to": to}, cookie) if name == "login" else _sent_on(to, cookie)

    def _cookie(self, place: Place, value: str, seconds: int) -> tuple[str, str]:
        secure = "; Secure" if place.is_secure else ""
        path = f"{place.root}/admin"
        return "Set-Cookie", f"{COOKIE}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"

    async def _act(self, name: str, visit: ConsoleVisit) -> Response:
        fields = visit.place.form
        if dict(fields).get("form_token") != visit.session.form_token:
            reason = "This form is not of your session: go back, and load the page again."
            return await visit.show("nothing.html", {"reason": reason}, 403)
        if name == "logout":
            self._sessions.end(visit.session)
            return _sent_on(f"{visit.place.root}/admin", self._cookie(visit.place, "", 0))
        if name == "export.jsonl":
            return await self._exporting(visit)
        if name != "do":
            return await visit.show("nothing.html", {"reason": "There is no such form."}, 404)
        back = dict(fields).get("back", "").strip("/")
        to = f"{visit.place.root}/admin/{back if back.partition('?')[0] in self._views else ''}".rstrip("/")
        mark = "&" if "?" in to else "?"
        try:
            method, params = _asked(fields)
            await visit.call(method, *params)
        except Rejected as refusal:
            return _sent_on(f"{to}{mark}{urlencode({'failed': refusal.reason})}")
        except ValueError as error:
            return _sent_on(f"{to}{mark}{urlencode({'failed': str(error)})}")
        return _sent_on(f"{to}{mark}{urlencode({'said': method})}")

    async def _exporting(self, visit: ConsoleVisit) -> Response:
        """Whether they may take all events along, which is recorded: then the site sends them."""
        try:
            await visit.call("exportevents")
        except Rejected as refusal:
            return _told(403, {"error": refusal.reason})
        return _told(200, {})

    async def _shown(self, name: str, visit: ConsoleVisit) -> Response:
        if (view := self._views.get(name)) is None:
            return await visit.show("nothing.html", {"reason": "There is no such page."}, 404)
        try:
            return await view(visit)
        except Rejected as refusal:
            return await visit.show("nothing.html", {"reason": refusal.reason}, 403)


def _asked(fields: list[tuple[str, str]]) -> tuple[str, list[object]]:
    """The method and the parameters that a form's fields ask for; empty ones at the end are left out.

    Raises:
        ValueError: a field is no number, or no JSON, where it must be.
    """
    method, params = dict(fields).get("method", ""), []
    for name, text in fields:
        if len(name) == 2 and name[0] in _FROM and name[1].isdecimal():
            params.append(_FROM[name[0]](text) if text else None)
    while params and params[-1] is None:
        params.pop()
    return method, params[:_MOST_PARAMS]


def _sent_on(to: str, *headers: tuple[str, str]) -> Response:
    """Have the browser go there, by GET."""
    return Response(303, b"", headers=[("Location", to), _NO_STORE, *headers])


def _told(status: int, body: object, *headers: tuple[str, str]) -> Response:
    return Response(status, msgspec.json.encode(body), "application/json", [*SECURITY, _NO_STORE, *headers])
