"""The index of the original relay, `nostr-events` on OpenSearch, read over HTTP a page at a time, oldest first.

Each document is an event and what was made of it for searches; a replaced or deleted event has none. Pages are asked
for by the place of the last event in the order of time and id, so the node keeps nothing between two of them, and what
the relay still writes meanwhile does not shift them.
"""

from __future__ import annotations

import http.client
import os
import ssl
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, unquote

import msgspec

from trio_relay.nostr.urls import split_url
from trio_relay.sources.lines import DEFAULT_BOUNDS, Line, LineBounds, line_of
from trio_relay.sources.packed import BrokenFile

_FIELDS: Final = ("id", "pubkey", "created_at", "kind", "tags", "content", "sig")
_EVENTS: Final = 500
"""Of a page, unless they are large."""
MOST_BYTES: Final = 2**25
"""Of a page; one that has more is asked for again with half as many events."""
_SECONDS: Final = 60.0
"""Within which a node must say something."""
_MOST_REASON: Final = 300
"""Characters of what a node says of a refusal that are told."""


def read_index(
    url: str,
    opened: Callable[[int], None] = lambda _bytes: None,
    progress: Callable[[int], None] = lambda _bytes: None,
    *,
    most_bytes: int = MOST_BYTES,
    bounds: LineBounds = DEFAULT_BOUNDS,
) -> Generator[Line, None, None]:
    """Read the events of an index, in the memory of one page.

    Args:
        url: `http(s)://[user:password@]host[:port]/index`. A user may come from the variables OPENSEARCH_USERNAME and
            OPENSEARCH_PASSWORD instead, as the original relay has them. Certificates are those that the machine
            trusts, or that SSL_CERT_FILE names.
        opened: called with the bytes that the index has on disk, once they are known.
        progress: called with the part of these bytes that was read, as far as the number of events tells.
        most_bytes: of an answer that is read.
        bounds: of an event that is longer or holds more, only the fault is given.

    Returns:
        A line for each document; its number is its place in the order.

    Raises:
        BrokenFile: from a step, if the node cannot be asked, refuses, or a part of the index is not there.
    """
    number = 0
    try:
        index = _Index(url, most_bytes)
        count, size = index.extent()
        opened(size)
        for hits in index.pages():
            for hit in hits:
                number += 1
                yield line_of(number, bytes(hit.source), bounds)
            progress(_part(size, number, count) - _part(size, number - len(hits), count))
    except (OSError, http.client.HTTPException, _Refused) as error:
        raise _broken(number, str(error) or type(error).__name__) from error
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(number, f"the answer is none of OpenSearch: {error}") from error


def _broken(number: int, why: str) -> BrokenFile:
    return BrokenFile(f"after event {number}: {why}" if number else f"cannot read the index: {why}")


def _part(size: int, number: int, count: int) -> int:
    return size * min(number, count) // max(count, 1)


class _Hit(msgspec.Struct):
    source: msgspec.Raw = msgspec.field(name="_source")
    sort: list[Any]


class _PageOfHits(msgspec.Struct):
    hits: list[_Hit]


class _SearchAnswer(msgspec.Struct):
    hits: _PageOfHits


_decode_found: Final = msgspec.json.Decoder(_SearchAnswer).decode


class _Refused(Exception):
    """What the node says, in words."""


class _TooLarge(Exception):
    """The answer has more bytes than are read."""


class _Index:
    """Asks one node about one index; each question has a connection of its own, so that none can have gone stale."""

    def __init__(self, url: str, most_bytes: int) -> None:
        self._parts = _split(url)
        self._path = self._parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json", **_authorization(self._parts, os.environ)}
        self._most_bytes = most_bytes

    def extent(self) -> tuple[int, int]:
        """Return how many events there are, and the bytes that all of it has on disk."""
        count = msgspec.json.decode(self._ask("/_count", None))["count"]
        stats = msgspec.json.decode(self._ask("/_stats/store", None))
        return count, stats["_all"]["primaries"]["store"]["size_in_bytes"]

    def pages(self) -> Iterator[list[_Hit]]:
        """Give all events, in pages of as many as an answer has room for."""
        place, at_once = list[Any](), _EVENTS
        while True:
            try:
                hits = self._page(place, at_once)
            except _TooLarge:
                if at_once == 1:
                    raise _Refused(f"an event has more than {self._most_bytes} bytes") from None
                at_once //= 2
                continue
            yield hits
            if len(hits) < at_once:
                return
            place, at_once = hits[-1].sort, min(_EVENTS, at_once * 2)

    def _page(self, place: list[Any], at_once: int) -> list[_Hit]:
        """Return the events behind a place in the order, or the first ones; fewer than asked for if these are all."""
        question: dict[str, Any] = {
            "size": at_once,
            "sort": [{"created_at": "asc"}, {"id": "asc"}],
            "_source": _FIELDS,
            "track_total_hits": False,
        }
        if place:
            question["search_after"] = place
        # Else a shard that is away would look like events that are not there.
        answer = self._ask("/_search?allow_partial_search_results=false", msgspec.json.encode(question))
        return _decode_found(answer).hits.hits

    def _ask(self, what: str, body: bytes | None) -> bytes:
        connection = self._connected()
        try:
            connection.request("GET" if body is None else "POST", self._path + what, body, self._headers)
            response = connection.getresponse()
            answer = response.read(self._most_bytes + 1)
            if response.status != 200:
                raise _Refused(f"the node answers {response.status}: {_reason(answer)}")
            if len(answer) > self._most_bytes:
                raise _TooLarge
            return answer
        finally:
            connection.close()

    def _connected(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)
        return http.client.HTTPConnection(host, port, timeout=_SECONDS)


def _split(url: str) -> SplitResult:
    try:
        return split_url(url)
    except ValueError as error:
        raise _Refused(str(error)) from None


def _authorization(parts: SplitResult, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the header of whom the URL or the environment names, if either does (RFC 7617)."""
    user = environment.get("OPENSEARCH_USERNAME") if parts.username is None else unquote(parts.username)
    password = environment.get("OPENSEARCH_PASSWORD") if parts.password is None else unquote(parts.password)
    if not user:
        return {}
    return {"Authorization": "Basic " + b64encode(f"{user}:{password or ''}".encode()).decode()}


def _reason(answer: bytes) -> str:
    """Return what a node says of a refusal, short enough for a line of a terminal."""
    try:
        said = msgspec.json.decode(answer)["error"]
        causes = [said] if isinstance(said, str) else [cause["reason"] for cause in said.get("root_cause", [said])]
        text = causes[0]
    except (msgspec.DecodeError, KeyError, TypeError, IndexError, AttributeError):
        text = answer.decode("utf-8", "replace")
    return "".join(char if char.isprintable() else " " for char in text)[:_MOST_REASON]
