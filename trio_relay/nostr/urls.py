"""What URLs name: whether two spellings name the same relay, or the same resource; and what may be shown of one.

Both comparisons treat as equal: http and ws, https and wss, a default port and none, the letter case of scheme and
host, a host in letters of any script and the same in ASCII (RFC 3490), and all loopback hosts, so that a relay tried
out at home answers to `localhost`, `127.0.0.1` and `[::1]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, NamedTuple
from unicodedata import normalize
from urllib.parse import SplitResult, unquote, urlsplit

MOST_CHARACTERS: Final = 2_048
"""Characters of a URL that can name a relay; browsers and proxies take no longer ones either."""
_MOST_HOST: Final = 253
"""Characters of a host (RFC 1035): the network's form of letters of any script is never shorter than they are."""
_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}
_SECURE = ("wss", "https")
UNREADABLE: Final = "the URL cannot be read: in a user, a password or a path write / ? # @ as %2F %3F %23 %40"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_AUTHORITY_END = re.compile(r"[/?#]")
_PATH_END = re.compile(r"[?#]")
_HIDDEN = "…"


class _Origin(NamedTuple):
    is_secure: bool
    host: str
    port: int


def same_relay(url: str, other: str) -> bool:
    """Return True if both URLs name one relay: by scheme, host, port and path (NIP-42, "Signed Event Verification").

    People write these, so white space around them, a dot after the host, slashes after the path, characters of the
    path written as they are or as `%xx`, query and fragment make no difference. A text that is no ws, wss, http or
    https URL names no relay, nor does one of more than `MOST_CHARACTERS`.
    """
    mine, theirs = _relay(url), _relay(other)
    return mine is not None and mine == theirs


def bare_url(url: str) -> str:
    """Return what may be shown of a URL to everybody: scheme, host, port and path.

    User and password, query and fragment are left out, since each may hold a secret. Where an `@` stands behind what
    looks like the host, the host may be a part of a password: then nothing but the scheme is left, and `…`.
    """
    scheme, mark, rest = url.strip().partition("://")
    if not mark or not _SCHEME.fullmatch(scheme):
        return _HIDDEN if "@" in url else _PATH_END.split(url, maxsplit=1)[0]
    authority = _AUTHORITY_END.split(rest, maxsplit=1)[0]
    behind = rest[len(authority) :]
    if "@" in behind:
        return f"{scheme}://{_HIDDEN}"
    return f"{scheme}://{authority.rpartition('@')[2]}{_PATH_END.split(behind, maxsplit=1)[0]}"


def split_url(url: str) -> SplitResult:
    """Take a URL apart; what it raises holds nothing of it, unlike what the standard library says.

    Raises:
        ValueError: it cannot be read, or its port is none.
    """
    if is_ambiguous(url):
        raise ValueError(UNREADABLE)
    try:
        parts = urlsplit(url.strip())
        is_right = parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ValueError("the URL has no host or no port that can be read")
    return parts


def is_ambiguous(url: str) -> bool:
    """Return True if it cannot be told where in a URL a password ends, and a host begins."""
    return bare_url(url).endswith(_HIDDEN)


def entrances(urls: Iterable[str]) -> tuple[str, ...]:
    """Return the URLs under which relays of these names can be reached: with and without the slash at their ends.

    The root of each host is one too: a relay answers there as well, since a proxy may have taken the path off.

    Args:
        urls: ws or wss URLs without query and fragment.
    """
    found: dict[str, None] = {}
    for url in urls:
        parts = urlsplit(url)
        root = f"{parts.scheme}://{parts.netloc}"
        path = parts.path.rstrip("/")
        found |= dict.fromkeys([url, f"{root}{path}", f"{root}{path}/", f"{root}/"])
    return tuple(found)


def plain_path(path: str) -> str:
    """Return the path of a URL, or of a request, as paths are compared: decoded, without slashes at its end."""
    return unquote(path).rstrip("/")


def same_url(url: str, other: str) -> bool:
    """Return True if both absolute URLs are the same, user, path, query and fragment included (NIP-98, "Nostr event").

    Programs write these, so only an empty path and `/` are equal besides. A text that is no such URL equals nothing.
    """
    mine, theirs = _resource(url), _resource(other)
    return mine is not None and mine == theirs


def _relay(url: str) -> tuple[_Origin, str] | None:
    url = url.strip()
    if len(url) > MOST_CHARACTERS or (found := _split(url)) is None:
        return None
    origin, parts = found
    host = origin.host.rstrip(".")
    return (origin._replace(host=_one_loopback(host)), plain_path(parts.path)) if host else None


def _resource(url: str) -> tuple[_Origin, str, str, str, str] | None:
    if any(character <= " " for character in url):  # which the parser would leave out
        return None
    if (found := _split(url)) is None:
        return None
    origin, parts = found
    return origin, parts.netloc.rpartition("@")[0], parts.path or "/", parts.query, parts.fragment


def _split(url: str) -> tuple[_Origin, SplitResult] | None:
    try:
        parts = urlsplit(url)
        default, port = _PORTS[parts.scheme], parts.port
    except (ValueError, KeyError):
        return None
    if not (host := parts.hostname):
        return None
    return _Origin(parts.scheme in _SECURE, _one_loopback(ascii_host(host)), default if port is None else port), parts


def ascii_host(host: str) -> str:
    """Return a host as the network has it; one that has no such form stays as it is."""
    if host.isascii() or len(host) > _MOST_HOST:
        return host
    # Python takes five microseconds for each character of what it comes to: U+FDFA comes to eighteen, with spaces.
    plain = normalize("NFKC", host)
    if len(plain) > _MOST_HOST or " " in plain:
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


def _one_loopback(host: str) -> str:
    return "localhost" if is_loopback(host) else host


def is_loopback(host: str) -> bool:
    """Return True for `localhost` and every address that stays on this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_this_machine(host: str) -> bool:
    """Return True for a loopback host, and for the address that stands for all of a machine's (`0.0.0.0`, `::`)."""
    try:
        return is_loopback(host) or ip_address(host).is_unspecified
    except ValueError:
        return False
