"""The header Forwarded (RFC 7239): for whom each of the proxies in a row has passed a request on (pure, no I/O).

It is read from its end, since only there stands what a trusted proxy has written; all before that may be the client's
own, or made by a client to be read wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

NOBODY: Final = "unknown"
"""What stands for an address that is not told (section 6.2), or that nobody can read."""
_PARAMETER: Final = re.compile(
    r"""[ \t]*+(?:([!#$%&'*+.^_`|~0-9A-Za-z-]++)[ \t]*+=[ \t]*+("(?:[^"\\]|\\.)*+"|[^\s",;\\]*+))?+[ \t]*+"""
)
"""A name and its value, or nothing, with blanks where some put them; addresses of IPv6 may lack their quotes."""
_ESCAPED: Final = re.compile(r"\\(.)")
_MOST_COMMAS: Final = 16
"""Within the quotes of one element; whoever writes more of them writes nothing that anybody needs."""


def forwarded_for(told: str) -> Iterator[str]:
    """Yield whom each proxy names, from the nearest one to the farthest: an address with a port or not, or `NOBODY`.

    An element ends where the one behind it begins, and is the shortest that reads as one. So neither a quote that a
    client has left open makes it longer, nor does a comma within quotes, in a Host that a proxy repeats, make two of
    it: what begins within quotes has one quote too many, or a backslash outside of them.

    Args:
        told: the value; of repeated headers, all of them with commas between.
    """
    end = len(told)
    while end >= 0:
        start = end
        parameters = None
        for _ in range(_MOST_COMMAS):
            start = told.rfind(",", 0, start)
            parameters = _parameters(told, start + 1, end)
            if parameters is not None or start < 0:
                break
        if parameters is None:
            yield NOBODY
            return
        if parameters:
            nodes = [value for name, value in parameters if name == "for"]
            yield nodes[0] if len(nodes) == 1 else NOBODY
        end = start


def _parameters(told: str, start: int, end: int) -> list[tuple[str, str]] | None:
    """The names, in lower case, and values between two places; None if these do not read as an element."""
    found = []
    while (match := _PARAMETER.match(told, start, end)) is not None:
        if match[1] is not None:
            found.append((match[1].lower(), _unquoted(match[2])))
        start = match.end()
        if start == end:
            return found
        if told[start] != ";":
            return None
        start += 1
    return None


def _unquoted(value: str) -> str:
    return _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value
