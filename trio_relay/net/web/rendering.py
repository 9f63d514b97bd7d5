"""Templates, style sheets, scripts and pictures: those of this package, and those of the operator in their stead.

All of it is read once, in a thread: where the operator has files of their own at the start, else when the first browser
comes, so that a relay that none visits does without.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from trio_relay.net.http import Request
from trio_relay.net.http_responses import Response
from trio_relay.net.web.readable import FILTERS
from trio_relay.turns import Turn

if TYPE_CHECKING:
    from jinja2 import Environment
    from jinja2.nodes import Template

HTML: Final = "text/html; charset=utf-8"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".gif": "image/gif",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_PICTURES: Final = frozenset({".gif", ".jpeg", ".jpg", ".png", ".svg", ".webp"})
_HERE: Final = Path(__file__).parent
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SECURITY: Final = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),  # with "no-referrer" browsers leave out the Origin of our own forms, too
    ("Cross-Origin-Opener-Policy", "same-origin"),
)
"""Headers of each page: nothing from elsewhere, nothing within a page runs, and no page of others has it in a frame."""
_EVERYBODYS: Final = frozenset(
    ("root", "name", "address", "home", "picture", "has_icon", "noindex", "version", "head", "version_of")
)
FACTS: Final[Mapping[str, frozenset[str]]] = {
    "base.html": frozenset(("root", "version_of")),
    "public.html": _EVERYBODYS,
    "front.html": _EVERYBODYS
    | {"description", "has_banner", "operator_page", "contact", "contact_link", "terms", "terms_link", "code"}
    | {"writing", "reading", "keeping", "nips", "limits", "notes", "now", "plot"},
    "event.html": _EVERYBODYS | {"shown", "note", "address_page", "answers"},
    "profile.html": _EVERYBODYS | {"profile", "has_profile", "notes", "most_notes"},
    "sorry.html": _EVERYBODYS | {"reason"},
    "events.html": frozenset(),
    "plots.html": frozenset(),
}
"""What templates of pages for everybody get, by their names; docs/web.md says what each is."""
_UNSEEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What has no place in HTML, or cannot be sent: strangers may write it."""
_KEPT: Final = ("Cache-Control", "public, max-age=86400")
_ASKED_AGAIN: Final = ("Cache-Control", "no-cache")


class PagesRefused(Exception):
    """What the operator's folder holds cannot be used; the message says what."""


def _folders(own: Path | None) -> list[Path]:
    """Where templates and files are, the operator's own folder last."""
    return [_HERE, *([own] if own is not None else [])]


@cache  # it takes a third of a second, once in a process
def _compiled(own: Path | None) -> Environment:
    """All templates, compiled.

    Raises:
        PagesRefused: one of the operator's is none, or asks for what its page does not have.
    """
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError

    environment = Environment(
        loader=ChoiceLoader([FileSystemLoader(folder / "templates") for folder in reversed(_folders(own))]),
        autoescape=True,
        auto_reload=False,  # what was read at the start stays
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    try:
        for name in environment.list_templates(extensions=["html"]):
            environment.get_template(name)
            if own is not None and name in FACTS and (own / "templates" / name).is_file():
                asked = _asked_by(environment.parse((own / "templates" / name).read_text()))
                if strange := sorted(asked - FACTS[name]):
                    raise PagesRefused(f"web.templates: {name} asks for {strange[0]!r}, which its page does not have")
    except TemplateSyntaxError as error:
        raise PagesRefused(f"web.templates: {error.filename}, line {error.lineno}: {error.message}") from error
    except (TemplateError, OSError, ValueError) as error:
        raise PagesRefused(f"web.templates: {error}") from error
    return environment


def _asked_by(template: Template) -> set[str]:
    """The facts that a template asks for; what it imports or sets itself is none, though its blocks stand apart."""
    from jinja2 import nodes
    from jinja2.meta import find_undeclared_variables

    imported = {
        name if isinstance(name, str) else name[1]
        for found in template.find_all(nodes.FromImport)
        for name in found.names
    }
    made = {found.name for found in template.find_all(nodes.Name) if found.ctx == "store"}
    return find_undeclared_variables(template) - imported - made


class Pages:
    """Renders templates, and has the files that pages need.

    Args:
        folder: of the operator; None: there is none.
        pictures: files by the names under which they are shown, such as `icon`.
    """

    def __init__(self, folder: Path | None = None, pictures: Mapping[str, Path] | None = None) -> None:
        self._folder = folder
        self._pictures = dict(pictures or {})
        self._environment: Environment | None = None
        self._files: dict[str, tuple[bytes, str, str]] = {}
        self._reading = trio.Lock()

    @property
    def has_own(self) -> bool:
        """True if anything of it is the operator's: that is read at the start, so that its faults are told there."""
        return self._folder is not None or bool(self._pictures)

    def check(self) -> None:
        """Read all of it at once, for who only wants to know whether that can be done.

        Raises:
            PagesRefused: it cannot.
        """
        self._environment = self._read()

    async def ready(self) -> None:
        """Read what is not read yet.

        Raises:
            PagesRefused: a file of the operator's cannot be read.
        """
        async with self._reading:
            if self._environment is None:
                self._environment = await trio.to_thread.run_sync(self._read)

    def _read(self) -> Environment:
        if self._folder is not None and not self._folder.is_dir():
            raise PagesRefused(f"web.templates: {self._folder}: no such folder")
        try:
            for folder in _folders(self._folder):
                for path in sorted((folder / "static").glob("*")):
                    self._take(path.name, path)
            for name, path in self._pictures.items():
                if path.suffix.lower() not in _PICTURES:
                    raise PagesRefused(f"web.{name}: {path}: no png, jpg, webp, gif or svg")
                self._take(name, path)
        except OSError as error:
            raise PagesRefused(f"web: {error.filename}: {error.strerror}") from error
        return _compiled(self._folder)

    def _take(self, name: str, path: Path) -> None:
        if (kind := _TYPES.get(path.suffix.lower())) is not None:
            data = path.read_bytes()
            self._files[name] = data, kind, sha256(data).hexdigest()[:12]

    def _version_of(self, name: str) -> str:
        """What a page says behind the name of a file, so that a browser keeps it only until it changes."""
        return self._files[name][2] if name in self._files else ""

    def has(self, name: str) -> bool:
        """True if there is a file of this name."""
        return name in self._files

    def page(self, template: str, facts: Mapping[str, object], status: int = 200) -> Response:
        """A page as a response; all of `facts` is escaped."""
        assert self._environment is not None, "`ready` comes first"
        text = self._environment.get_template(template).render({**facts, "version_of": self._version_of})
        return _as_page(text, status)

    async def page_in_turns(self, template: str, facts: Mapping[str, object], status: int = 200) -> Response:
        """The same of a page that may be long: others have their turns while it is made."""
        assert self._environment is not None, "`ready` comes first"
        await trio.lowlevel.checkpoint()  # what the page is about has been looked up and made ready just now
        pieces, turn = list[str](), Turn()
        for piece in self._environment.get_template(template).generate({**facts, "version_of": self._version_of}):
            pieces.append(piece)
            if turn.is_over:
                await turn.give()
        return _as_page("".join(pieces), status)

    def file(self, name: str, request: Request) -> Response | None:
        """A style sheet, a script or a picture; None if there is none of this name.

        A browser keeps what was asked for by its version, as pages do; what scripts import has none, so it asks again.
        """
        if (found := self._files.get(name)) is None:
            return None
        data, kind, version = found
        tag = f'"{version}"'
        is_named = request.target.partition("?")[2] == version
        headers = [*SECURITY, _KEPT if is_named else _ASKED_AGAIN, ("ETag", tag)]
        if request.headers.get("if-none-match") == tag:
            return Response(304, b"", kind, headers)
        return Response(200, data, kind, headers)


def _as_page(text: str, status: int) -> Response:
    body = _UNSEEN.sub("\ufffd", text).encode()
    return Response(status, body, HTML, [*SECURITY, ("Cache-Control", "no-store")])
