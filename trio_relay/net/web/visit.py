"""One request at the console of somebody who is logged in, and the pages that there are for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar
from urllib.parse import urlencode

from trio_relay.net.admin.api import AdminApi
from trio_relay.net.http_responses import Response
from trio_relay.net.web.place import Place
from trio_relay.net.web.rendering import Pages
from trio_relay.net.web.sessions import ConsoleSession

MOST_ROWS: Final = 100
"""Rows of a table: a page of them is made in a few milliseconds."""

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class ConsoleVisit:
    """One request of somebody who is logged in.

    Attributes:
        place: of the request.
        relay: what it is called.
        name: of the page below `/admin`; empty for the first one.
        session: theirs.
        methods: that they may call now.
        api: carries out what they call for.
        pages: have the templates.
        menu: all pages of the console.
    """

    place: Place
    relay: str
    name: str
    session: ConsoleSession
    methods: frozenset[str]
    api: AdminApi
    pages: Pages
    menu: Mapping[str, ConsolePage]

    async def call(self, method: str, *params: object) -> Any:
        """What a method answers, as JSON has it.

        Raises:
            Rejected: they may not call it, or it failed.
        """
        return await self.api.perform(method, params, self.session.caller, self.place.request.client)

    async def ask(self, method: str, *params: object) -> Any:
        """The same, or None where they may not call it."""
        return await self.call(method, *params) if method in self.methods else None

    async def show(self, template: str, facts: Mapping[str, object], status: int = 200) -> Response:
        """A page of the console; `facts` is its own, beside what all of them have."""
        page = self.menu.get(self.name)
        common: dict[str, object] = {
            "root": self.place.root,
            "here": self.name + (f"?{urlencode(self.place.query)}" if self.place.query else ""),
            "name": self.name,
            "relay": self.relay,
            "title": "" if page is None else page.title,
            "sections": list(self._sections()),
            "caller": self.session.caller,
            "session_ends": self.session.ends,
            "form_token": self.session.form_token,
            "methods": self.methods,
            "notices": self.session.take_notices(),
        }
        return await self.pages.page_in_turns(template, {**common, **facts}, status)

    def _sections(self) -> Iterator[Mapping[str, object]]:
        """The menu: what they may see of it."""
        here = self.menu.get(self.name)
        open_ones = [page for page in self.menu.values() if page.is_listed and page.is_open_to(self.methods)]
        for section in dict.fromkeys(page.section for page in open_ones):
            pages = [page for page in open_ones if page.section == section]
            is_here = here is not None and here.section == section
            yield {"title": section, "pages": pages, "is_here": is_here}


View: TypeAlias = Callable[[ConsoleVisit], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """A page of the console.

    Attributes:
        path: below `/admin`; empty for the first one.
        title: in the menu.
        section: of the menu.
        needs: methods of which a visitor may call one at least.
        view: makes it.
        takes_form: True if a form may be sent to it, which changes nothing.
        is_listed: False if the menu leaves it out.
    """

    path: str
    title: str
    section: str
    needs: tuple[str, ...]
    view: View
    takes_form: bool = False
    is_listed: bool = True

    def is_open_to(self, methods: frozenset[str]) -> bool:
        """True for who may call these."""
        return not methods.isdisjoint(self.needs)


@dataclass(frozen=True, slots=True)
class Stretch(Generic[Row]):
    """Some rows of many.

    Attributes:
        rows: these.
        number: of the page, from 1.
        last: of the last page.
        total: rows in all.
        query: what a link to another page begins with, behind the question mark.
    """

    rows: Sequence[Row]
    number: int
    last: int
    total: int
    query: str


def stretch(rows: Sequence[Row], query: Mapping[str, str], most: int = MOST_ROWS) -> Stretch[Row]:
    """The rows of the page that a query asks for, or of the nearest that there is."""
    last = max(1, -(-len(rows) // most))
    asked = query.get("page", "")
    number = min(int(asked), last) if asked.isascii() and asked.isdecimal() and len(asked) < 9 else 1
    number = max(1, number)
    kept = urlencode({name: text for name, text in query.items() if name != "page"})
    shown = rows[(number - 1) * most : number * most]
    return Stretch(shown, number, last, len(rows), f"{kept}&" if kept else "")
