"""A console over answers that are written down: each page in milliseconds, with whatever text in whatever field."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from tests.support.keys import NOW
from trio_relay import AdminApi
from trio_relay.net import http, http_responses, vitals, web
from trio_relay.nostr import errors

KEY: Final = "ab" * 32
ID: Final = "cd" * 32
PAGES: Final = web.rendering.Pages()
"""Read once for all tests."""
_VOID: Final = frozenset({"area", "base", "br", "hr", "img", "input", "link", "meta"})
# Elements of SVG that are written as empty ones.
_EMPTY: Final = frozenset({"line", "polyline", "rect", "path", "circle"})


def event(text: str = "hello") -> dict[str, object]:
    """An event as methods answer it."""
    tags = [["t", text], ["p", KEY]]
    return {"id": ID, "pubkey": KEY, "created_at": NOW, "kind": 1, "tags": tags, "content": text, "sig": "5" * 128}


def answers(text: str = "hello") -> dict[str, Any]:
    """What each method answers that pages ask, with this text wherever one can come from outside."""
    filters = [{"#t": [text], "kinds": [1]}]
    row = {"reason": text, "by": KEY, "since": NOW, "until": NOW + 60}
    subscription = {"id": text, "filters": filters, "left_out": 3}
    return {
        "stats": {"subscriptions": 1},
        "listclients": [
            {
                "client": "0-1",
                "address": text,
                "agent": text,
                "keys": [KEY, text, KEY, KEY],
                "since": NOW,
                "subscriptions": [subscription],
                "open": 3,
                "seconds": 0.25,
                "outbox_bytes": 2_000,
                "events": 7,
            }
        ],
        "listbannedpubkeys": [{"pubkey": KEY, **row}, {"pubkey": text, "reason": text}],
        "listallowedpubkeys": [{"pubkey": KEY, "reason": text}],
        "listbannedevents": [{"id": text, **row}],
        "listallowedevents": [{"id": ID, "reason": text}],
        "listdisallowedkinds": [1, 7],
        "listallowedkinds": [{"kind": 1, **row}],
        "listdeniedwords": [{"word": text, **row}],
        "listblockedips": [{"ip": text, **row}],
        "listreportedevents": [
            {
                "id": ID,
                "since": NOW,
                "reason": text,
                "reporters": [{"pubkey": KEY, "known": True}] * 12,
                "event": event(text),
                "author_events": 4,
            },
            {"id": ID, "since": NOW, "reason": "", "reporters": [], "event": None, "author_events": None},
        ],
        "listacts": [
            {
                "act": "1-a",
                "at": NOW,
                "who": "operator",
                "method": "banpubkey",
                "params": f'["{KEY}"]',
                "told": text,
                "can_undo": True,
                "undone": False,
            },
            {
                "act": text,
                "at": NOW,
                "who": text,
                "method": text,
                "params": [text],
                "told": text,
                "can_undo": False,
                "undone": True,
            },
        ],
        "listslowrequests": [
            {
                "at": NOW,
                "seconds": 1.5,
                "address": text,
                "keys": [text],
                "verb": "REQ",
                "filters": filters,
                "left_out": 1,
                "outcome": text,
                "found": 3,
            }
        ],
        "listmirrors": [
            {
                "url": text,
                "direction": "both",
                "state": "away",
                "since": NOW,
                "fault": text,
                "outcomes": {"taken": 1_234, "given": 5, "echo": 0},
                "catch_ups": 1,
                "retries": 2,
                "waiting": 3,
            },
        ],
        "listrefusals": [
            {"at": NOW, "address": text, "verb": text, "reason": text, "id": text, "key": text, "kind": 1},
            {"at": NOW, "address": text, "verb": text, "reason": text},
        ],
        "explainfilters": {
            "verdict": {"accepted": False, "reason": text, "setting": text},
            "filters": [
                {
                    "filter": filters[0],
                    "plan": [{"index": text, "detail": text}, {"index": None, "detail": text}],
                    "looked_at": None,
                    "seconds": 0.001,
                    "found": 7,
                    "hidden": None,
                },
                {"filter": text, "plan": [], "looked_at": 0, "seconds": 0.0, "found": 0, "hidden": 1},
            ],
        },
        "explainevent": {
            "verdict": {"accepted": True, "reason": "", "setting": ""},
            "checks": [{"check": text, "accepted": False, "reason": text, "setting": text}],
            "store": text,
            "by": text,
            "subscriptions": None,
        },
        "storestats": {
            "events": 12_345,
            "kinds": [{"kind": 1, "events": 12_000}, {"kind": 7, "events": 345}],
            "days": [{"day": "2026-11-30", "events": 5}, {"day": "2026-11-29", "events": 0}],
            "authors": [{"pubkey": KEY, "events": 9}],
            "expiring": {"events": 4, "next": None},
            "disk_bytes": 1_000_000,
            "next_sweep": NOW,
            "next_retention": NOW,
        },
        "findevents": [event(text)],
        "listmembers": [{"pubkey": KEY, "since": NOW, "by": text, "roles": [text, "b"]}],
        "listinvites": [
            {"claim": "3c" * 16, "by": text, "since": NOW, "until": None},
            {"claim": text, "by": KEY, "since": NOW, "until": NOW + 9},
        ],
        "listroles": [
            {"id": text, "label": text, "description": text, "color": 7, "order": None, "pubkeys": [KEY, text]},
            {"id": "b", "label": "", "description": "", "color": None, "order": 3, "pubkeys": []},
        ],
        "listmethodassignees": [{"pubkey": KEY, "methods": ["stats", text]}],
        "listsettings": [
            {
                "section": "relay",
                "key": "name",
                "value": text,
                "default": "",
                "from": "file",
                "file": text,
                "variable": "TRIO_RELAY_RELAY__NAME",
                "text": text,
                "unit": "",
                "bounds": "",
                "method": "changerelayname",
                "live": True,
            },
            {
                "section": "net",
                "key": "listen",
                "value": [text],
                "default": [],
                "from": "default",
                "variable": "TRIO_RELAY_NET__LISTEN",
                "text": text,
                "unit": "seconds",
                "bounds": "from 1",
                "method": None,
                "live": False,
                "waits": [text],
                "files": [text, text],
                "more": 7,
                "adds": text,
            },
        ],
    }


ACTING: Final = (
    frozenset(
        method
        for path in (Path(web.rendering.__file__).parent / "templates").glob("*.html")
        for method in re.findall(r"""(?:press|call form)\(\"(\w+)\"""", path.read_text())
    )
    | {method for which in web.moderation_pages.LISTS for method in (which.adding, which.taking)}
    | {"changerelayname", "exportevents"}
)
"""Methods that forms call."""


class CannedApi(AdminApi):
    """Answers as it is told, and remembers what it was asked.

    Args:
        told: what methods answer, by name; a function is asked with the parameters.
        methods: that anybody may call; None: all that forms and pages know.
    """

    def __init__(self, told: Mapping[str, Any] | None = None, methods: frozenset[str] | None = None) -> None:
        self.told = dict(answers() if told is None else told)
        self.methods = methods if methods is not None else frozenset(self.told) | ACTING
        self.calls: list[tuple[str, list[object], str]] = []
        self.refusal: errors.Rejected | None = None

    async def perform(
        self,
        method: str,
        params: Sequence[object],
        caller: str,
        client: str,
        check: Callable[[], None] = lambda: None,
    ) -> Any:
        if method == "supportedmethods":
            return sorted(self.methods)
        assert method in self.methods, method
        if self.refusal is not None:
            raise self.refusal
        self.calls.append((method, list(params), caller))
        told = self.told.get(method, True)
        return told(*params) if callable(told) else told


class OpenLogin(web.login.Login):
    """Has let somebody in already."""

    def __init__(self) -> None:
        self.time = NOW

    @property
    def relay_name(self) -> str:
        return "<relay>"

    def now(self) -> int:
        return self.time

    def may_enter(self, caller: str) -> bool:
        return True


class StillVitals:
    """A relay that does the same all the time."""

    async def now(self) -> vitals.Point:
        return _POINT

    async def over(self, span: vitals.Span) -> list[vitals.Point]:
        return [vitals.Point(NOW - 10.0 * number, _POINT.values) for number in range(360, 0, -1)]


_POINT: Final = vitals.Point(
    float(NOW),
    {
        "connections": 3.0,
        "subscriptions": 12_345.0,
        "stored": 0.25,
        "refused": 1.0,
        "p50": 0.0008,
        "p99": 0.02,
        "cpu": 0.07,
        "store_bytes": 5e6,
        "resident_bytes": 9e7,
        "depth_to_verify": 2.0,
    },
)


@dataclass
class Desk:
    """Somebody who is logged in, and what they see.

    Attributes:
        api: what answers.
        caller: who they are.
    """

    api: CannedApi = field(default_factory=CannedApi)
    caller: str = KEY

    def __post_init__(self) -> None:
        self.login = OpenLogin()
        self.sessions = web.sessions.Sessions(3_600)
        self.session = self.sessions.open(self.caller, NOW)
        self.console = web.console.Console(
            self.api, PAGES, self.login, self.sessions, partial(web.assembly.menu, StillVitals())
        )

    async def get(self, path: str = "", **query: str) -> http_responses.Response:
        """A page, by what stands behind `/admin/`."""
        return await self.console.answer(request(path, urlencode(query), cookie=self.session.cookie))

    async def text(self, path: str = "", **query: str) -> str:
        """The same, which must be there, as text."""
        found = await self.get(path, **query)
        assert found.status == 200, (path, found)
        return found.body.decode()

    async def send(self, path: str = "do", form_token: str | None = None, **fields: str) -> http_responses.Response:
        """What a form gets that has the right token unless another is given."""
        token = self.session.form_token if form_token is None else form_token
        body = urlencode({"form_token": token, **fields}).encode()
        return await self.console.answer(request(path, body=body, cookie=self.session.cookie))

    async def told(self) -> str:
        """The notice on the next page."""
        return notice(await self.text())


def request(
    path: str = "", query: str = "", *, body: bytes | None = None, cookie: str = "", **headers: str
) -> web.place.Place:
    """A request at the console: a GET, or with a body a POST of a form."""
    named = {"host": "relay.example", "cookie": f"{web.sessions.COOKIE}={cookie}", **headers}
    if body is not None:
        named.setdefault("content-type", "application/x-www-form-urlencoded")
    where = f"/admin/{path}" if path else "/admin"
    method = "GET" if body is None else "POST"
    asked = http.Request(method, where, named, [], f"{where}?{query}", body or b"", "192.0.2.1")
    return web.place.Place(asked, where, "", "https://relay.example")


def notice(page: str) -> str:
    """What a page tells of what was done last; empty if it tells nothing."""
    found = Outline(page)
    return found.text_of("notice")


class Outline(HTMLParser):
    """The elements of a page as a browser without sense for errors reads them.

    Attributes:
        elements: each with its attributes' names, in their order.
        attributes: all values of attributes by name.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.attributes: list[tuple[str, str]] = []
        self._open: list[tuple[str, str]] = []
        self._texts: dict[str, list[str]] = {}
        self.feed(page)
        self.close()
        assert self._open == [], self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append((tag, dict(attrs).get("class") or ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _EMPTY, tag
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        last, _ = self._open.pop()
        assert last == tag, f"</{tag}> ends <{last}>"

    def handle_data(self, data: str) -> None:
        for _, kinds in self._open:
            for kind in kinds.split():
                self._texts.setdefault(kind, []).append(data)

    def text_of(self, kind: str) -> str:
        """All text within elements of a class."""
        return "".join(self._texts.get(kind, ())).strip()
