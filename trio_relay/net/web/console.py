"""The console at `/admin`: who is logged in, what they ask for, and what comes of it.

All that it shows and does are methods of NIP-86, called for whoever is logged in (`AdminApi.perform`): what a key may
do is decided there, and noted there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from trio_relay.net.admin.api import AdminApi
from trio_relay.net.http_responses import Response
from trio_relay.net.web.deeds import deed
from trio_relay.net.web.login import Login, is_of_ours
from trio_relay.net.web.place import Place
from trio_relay.net.web.rendering import SECURITY, Pages
from trio_relay.net.web.sessions import COOKIE, ConsoleSession, Notice, Sessions
from trio_relay.net.web.visit import ConsolePage, ConsoleVisit
from trio_relay.nostr.errors import Prefix, Rejected

_NO_STORE: Final = ("Cache-Control", "no-store")
_MOST_PARAMS: Final = 10
_STATUS: Final = {Prefix.ERROR: 503, Prefix.UNSUPPORTED: 200}
"""Of a page that says why it shows nothing: what the configuration has left out is no failure."""
_SUPPORTED: Final = "supportedmethods"


class Console:
    """Answers whoever manages the relay in a browser.

    Args:
        api: decides, and carries out.
        pages: have the templates.
        login: lets people in.
        sessions: of those who are.
        menu: gives each page by its path, once the first is asked for; the empty path is that of the first page.
    """

    def __init__(
        self,
        api: AdminApi,
        pages: Pages,
        login: Login,
        sessions: Sessions,
        menu: Callable[[], Mapping[str, ConsolePage]],
    ) -> None:
        self._api = api
        self._pages = pages
        self._login = login
        self._sessions = sessions
        self._make_menu = menu

    @property
    def is_open(self) -> bool:
        """True if there is anybody who may log in."""
        return self._login.is_open

    def take_options(self, session_seconds: int, secret: bytes, *, has_links: bool) -> None:
        """Let people in by these from now on, see `Login`; who is in stays so."""
        self._sessions.seconds = session_seconds
        self._login.has_links, self._login.secret = has_links, secret

    @cached_property
    def _menu(self) -> Mapping[str, ConsolePage]:
        return self._make_menu()

    async def answer(self, place: Place) -> Response:
        """The response to a request at `/admin` or below it."""
        await self._pages.ready()
        name = place.path.removeprefix("/admin").strip("/")
        if place.request.method == "POST" and not is_of_ours(place):
            reason = "this form is of another page"
            return _told(403, {"error": reason}) if name == "login" else self._ask_in(place, 403, reason)
        if name in ("login", "enter"):
            return await self._let_in(name, place)
        session = self._sessions.find(place.cookies.get(COOKIE, ""), self._login.now())
        if session is None or not self._login.may_enter(session.caller):
            return self._ask_in(place, 401 if "." in name or place.request.method == "POST" else 200)
        visit = await self._visit(name, place, session)
        if place.request.method == "POST":
            return await self._act(visit)
        return await self._shown(visit)

    async def _visit(self, name: str, place: Place, session: ConsoleSession) -> ConsoleVisit:
        supported = await self._api.perform(_SUPPORTED, (), session.caller, place.request.client)
        methods = frozenset(map(str, supported if isinstance(supported, list) else ()))
        return ConsoleVisit(place, self._login.relay_name, name, session, methods, self._api, self._pages, self._menu)

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
        # A proxy may speak TLS for a name that the relay was not told: the browser says so.
        is_secure = place.is_secure or place.request.headers.get("origin", "").lower().startswith("https:")
        secure = "; Secure" if is_secure else ""
        path = f"{place.root}/admin"
        return "Set-Cookie", f"{COOKIE}={value}; Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"

    async def _act(self, visit: ConsoleVisit) -> Response:
        """Do what a form asks for, and show the page again that it was on."""
        fields = visit.place.form
        given = dict(fields)
        if not visit.session.knows(given.get("form_token", "")):
            reason = "This form is not of your session: go back, and load the page again."
            return await visit.show("nothing.html", {"reason": reason}, 403)
        if visit.name == "logout":
            self._sessions.end(visit.session)
            return _sent_on(f"{visit.place.root}/admin", self._cookie(visit.place, "", 0))
        if visit.name == "export.jsonl":
            return await self._exporting(visit)
        if visit.name != "do":
            page = self._menu.get(visit.name)
            if page is None or not page.takes_form:
                return await visit.show("nothing.html", {"reason": "There is no such form."}, 404)
            return await self._shown(visit)
        visit.session.notices.append(await self._done(visit, fields))
        return _sent_on(f"{visit.place.root}/admin{self._back(given.get('back', ''))}")

    async def _exporting(self, visit: ConsoleVisit) -> Response:
        """Whether they may take all events along, which is recorded: then the site sends them."""
        try:
            await visit.call("exportevents")
        except Rejected as refusal:
            return await visit.show("nothing.html", {"reason": f"{refusal.reason}."}, 403)
        return _told(200, {})

    async def _done(self, visit: ConsoleVisit, fields: list[tuple[str, str]]) -> Notice:
        """What came of the call that a form asks for."""
        method = dict(fields).get("method", "")
        try:
            params = _asked(fields, self._login.now())
            result = await visit.call(method, *params)
        except Rejected as refusal:
            return Notice(f"Not done: {refusal.reason}.", is_failure=True)
        except (ValueError, RecursionError):  # msgspec's errors are such, too
            return Notice("Not done: a field of the form cannot be read.", is_failure=True)
        if isinstance(result, list) and result and result[0] is False:  # NIP-86 has assignmethod answer so
            return Notice(f"Not done: {result[-1]}.", is_failure=True)
        return Notice(f"{deed(method, params)}.")

    def _back(self, asked: str) -> str:
        """Where to go on, below `/admin`: a page of ours, whatever the form says."""
        path, _, query = asked.strip("/").partition("?")
        if not path or path not in self._menu:
            return ""
        kept = urlencode(parse_qsl(query, keep_blank_values=True))
        return f"/{path}?{kept}" if kept else f"/{path}"

    async def _shown(self, visit: ConsoleVisit) -> Response:
        if (page := self._menu.get(visit.name)) is None:
            return await visit.show("nothing.html", {"reason": "There is no such page."}, 404)
        if not page.is_open_to(visit.methods):
            reason = "You may call none of the methods that this page needs."
            return await visit.show("nothing.html", {"reason": reason}, 403)
        try:
            return await page.view(visit)
        except Rejected as refusal:
            status = _STATUS.get(refusal.prefix, 403)
            return await visit.show("nothing.html", {"reason": f"{refusal.reason}."}, status)


def _asked(fields: list[tuple[str, str]], now: int) -> list[object]:
    """The parameters that a form's fields ask for, in their order; empty ones at the end are left out.

    A field's name is a letter that says what it holds, and a digit: a text, a number, JSON, or a time that is so many
    seconds ahead.

    Raises:
        ValueError: a field is no number, or no JSON, where it must be.
    """
    read: Mapping[str, Callable[[str], object]] = {
        "s": str,
        "n": int,
        "j": msgspec.json.decode,
        "d": lambda text: now + int(text),
    }
    params: list[object] = []
    for name, text in fields:
        if len(name) == 2 and name[0] in read and name[1].isdecimal():
            params.append(read[name[0]](text) if text else None)
    while params and params[-1] is None:
        params.pop()
    return params[:_MOST_PARAMS]


def _sent_on(to: str, *headers: tuple[str, str]) -> Response:
    """Have the browser go there, by GET."""
    return Response(303, b"", headers=[("Location", to), _NO_STORE, *headers])


def _told(status: int, body: object, *headers: tuple[str, str]) -> Response:
    return Response(status, msgspec.json.encode(body), "application/json", [*SECURITY, _NO_STORE, *headers])
