"""Where on the web a request has come to: the path below the relay's own, and what links begin with (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from trio_relay.net.http import Request

_MOST_FIELDS: Final = 100


@dataclass(frozen=True, slots=True)
class Place:
    """A request as pages see it.

    Attributes:
        request: as it came.
        path: below the relay's own path, such as `/admin/now`, percent-decoded.
        root: what links begin with; empty, or such as `/relay`, without a slash at its end.
        origin: of the page, such as `https://relay.example`, as the visitor's browser sees it.
    """

    request: Request
    path: str
    root: str
    origin: str

    @property
    def query(self) -> dict[str, str]:
        """The parameters behind the question mark; of those of one name, the last. None at all if they are too many."""
        return dict(_fields(self.request.target.partition("?")[2]))

    @property
    def form(self) -> list[tuple[str, str]]:
        """What a form has sent, in its order; empty if that is none, or has too many fields."""
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_form = kind == "application/x-www-form-urlencoded"
        return _fields(self.request.body.decode("utf-8", "replace")) if is_form else []

    @property
    def cookies(self) -> dict[str, str]:
        """Cookies by name (RFC 6265, section 4.2.1)."""
        pairs = (part.strip().partition("=") for part in self.request.headers.get("cookie", "").split(";"))
        return {name: value for name, mark, value in pairs if mark}

    @property
    def is_secure(self) -> bool:
        """True if the visitor's browser speaks TLS."""
        return self.origin.startswith("https:")


def _fields(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return []


def place_at(request: Request, paths: Sequence[str], names: Iterable[str]) -> Place | None:
    """Where a request has come to; None if that is none of the relay's.

    A proxy may have taken the relay's path off, and the browser's links must have it all the same: so it is that of
    the name by which the relay was called, and only where no name fits, the one in front of the request's path.

    Args:
        request: with the path that the relay sees.
        paths: that lead to the relay, the longest first, without a slash at the end; the last one is empty.
        names: the relay's URLs, ws or wss.
    """
    path = unquote(request.path)
    before = next((one for one in paths if path == one or path.startswith(f"{one}/")), None)
    if before is None:
        return None
    host = request.headers.get("host", "").lower()
    named = next((parts for parts in map(urlsplit, names) if parts.netloc.lower() == host), None)
    scheme = "https" if named is not None and named.scheme in ("wss", "https") else "http"
    root = (before if named is None else named.path).rstrip("/")
    return Place(request, path[len(before) :] or "/", root, f"{scheme}://{host}")
