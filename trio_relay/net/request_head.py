"""The head of an HTTP/1.1 request: found in what has come, bounded, and held to RFC 9112 where h11 is lenient.

h11 takes bare line feeds, folded lines, control characters, any version, and both kinds of length in one request. A
proxy in front may read each of these in another way, and so pass on two requests where it has seen one (RFC 9112,
section 11.2). All of it is refused before anything of the body is looked at.
"""

from __future__ import annotations

import re
from typing import Final

import h11

_MOST_BYTES: Final = 16_384
_MOST_LINES: Final = 100
"""Header lines; each costs the parser some microseconds, and browsers behind proxies send thirty."""
_END: Final = b"\r\n\r\n"
_FOREIGN: Final = re.compile(rb"\A[ \t\r]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r[^\n]|(?<!\r)\n|\n[ \t]")
"""What no head has: a blank in front, control characters, a line end of one byte, a folded line (RFC 9112, section 5.2;
RFC 9110, section 5.5)."""
_LENGTH: Final = re.compile(rb"\r\n(content-length|transfer-encoding):([^\r]*)", re.IGNORECASE)
_HOST: Final = re.compile(rb"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")
_VERSIONS: Final = (b"1.1", b"1.0")
_PLAIN: Final = re.compile(rb"GET (/[!-~]*+) HTTP/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~]*+\r\n)++)\r\n")
"""A GET in the usual form whose header lines hold nothing but printable ASCII: a part of what h11 takes."""
_NOT_PLAIN: Final = frozenset({"content-length", "transfer-encoding"})


def bad_request(status: int, reason: str) -> h11.RemoteProtocolError:
    """Make the refusal of a request, as h11 itself raises it."""
    return h11.RemoteProtocolError(reason, error_status_hint=status)


def end_of_head(data: bytearray, known: int) -> int:
    """Return how many of the bytes that have come are the head; 0 as long as its end has not come.

    Args:
        data: of this request and after it.
        known: how many of them were looked at before.

    Raises:
        h11.RemoteProtocolError: these bytes cannot begin a request, or are too many; the hint is the status.
    """
    end = data.find(_END, max(0, known - len(_END) + 1)) + len(_END)
    is_whole = end >= len(_END)
    size = end if is_whole else len(data)
    if _FOREIGN.search(data, max(0, known - 1), size) is not None:
        raise bad_request(400, "the head holds what no line of a head may hold")
    if size > _MOST_BYTES:
        raise bad_request(431, "head too large")
    return end if is_whole else 0


def parse_head(head: bytes) -> tuple[h11.Connection, h11.Request]:
    """Parse the head of a request, and give the connection that can go on with its body and its response.

    Args:
        head: all of it, with the empty line at its end.

    Raises:
        h11.RemoteProtocolError: it breaks a rule of RFC 9112 or is too large; the hint is the status.
    """
    if head.count(b"\r\n") - 2 > _MOST_LINES:
        raise bad_request(431, "too many headers")
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_BYTES)
    connection.receive_data(head)
    request = connection.next_event()
    if not isinstance(request, h11.Request):
        raise bad_request(400, "no request")
    if request.http_version not in _VERSIONS:
        raise bad_request(505, "HTTP/1.1 and HTTP/1.0 only")
    _check_lengths(head, request.http_version)
    if any(name == b"host" and _HOST.fullmatch(value) is None for name, value in request.headers):
        raise bad_request(400, "Host names no host")
    return connection, request


def plain_head(data: bytes) -> tuple[bytes, str, list[tuple[str, str]]] | None:
    """Read the head of a request as nearly all handshakes write it, in a tenth of the time that `parse_head` takes.

    Args:
        data: begins with the head; what follows it is passed over.

    Returns:
        The head, its target, and its headers, names in lower case: the same as by `end_of_head` and `parse_head`, of a
        GET by HTTP/1.1 without a body. None: that is for those two to say, or to refuse.
    """
    match = _PLAIN.match(data)
    if match is None or match.end() > _MOST_BYTES:
        return None
    lines = match[2].decode("ascii").split("\r\n")
    lines.pop()  # behind the last line's end
    if len(lines) > _MOST_LINES:
        return None
    headers: list[tuple[str, str]] = []
    host: str | None = None
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name in _NOT_PLAIN or (name == "host" and host is not None):
            return None
        if name == "host":
            host = value
        headers.append((name, value))
    if host is None or _HOST.fullmatch(host.encode("ascii")) is None:
        return None
    return match[0], match[1].decode("ascii"), headers


def has_body(request: h11.Request) -> bool:
    """Return True if something follows the head (RFC 9112, section 6)."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and int(value)) for name, value in request.headers
    )


def _check_lengths(head: bytes, version: bytes) -> None:
    """Refuse what tells the length of the body twice, or in a way that its version does not know (section 6.3)."""
    told = _LENGTH.findall(head)
    if len(told) > 1:
        raise bad_request(400, "the length of the body is told twice")
    for name, value in told:
        if name.lower() == b"content-length" and not value.strip(b" \t").isdigit():
            raise bad_request(400, "Content-Length must be one number")
        if name.lower() == b"transfer-encoding" and version == b"1.0":
            raise bad_request(400, "HTTP/1.0 knows no Transfer-Encoding")
