"""The client of a cluster: which node is asked, for how long, and what a failure means."""

from __future__ import annotations

import gzip
import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import httpx
import msgspec
import trio

from trio_relay.store.base import QueryTooLarge, StoreError, StoreRefused
from trio_relay.store.opensearch.options import OpenSearchOptions

T = TypeVar("T")

_ZIPPED_FROM: Final = 1_400
_ZIPPED_IN_THREAD_FROM: Final = 65_536
_LEVEL: Final = 1
_LOST: Final = frozenset({502, 504})
"""Answers of a gateway, which does not know whether the request was carried out."""
_MANY_LINES: Final = "application/x-ndjson"
_ONE_OBJECT: Final = "application/json"

encode: Final = msgspec.json.Encoder().encode


class Unreachable(StoreError):
    """No node took the request, or its answer was lost: it may have been carried out. A retry may help."""


class Busy(StoreError):
    """The cluster has refused the request for now; it was not carried out. A retry may help."""


class Overloaded(Busy):
    """As `Busy`, because a node has too much to do at a time: less at a time may help."""


class RequestTooLarge(StoreError):
    """The request is larger than the cluster accepts, however little else it has to do: a part of it may fit."""


class ClusterRefusal(StoreError):
    """The cluster has refused the request for good; a retry does not help.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


OVERLOADED: Final = "overloaded"
_REASONS: Final[dict[type[StoreError], str]] = {
    Unreachable: "unreachable",
    Busy: "busy",
    Overloaded: OVERLOADED,
    RequestTooLarge: "too_large",
}
"""What is counted: a `ClusterRefusal` is part of the talk, such as that a document is not there."""


class OpenSearchClient:
    """Sends requests to the nodes of one cluster; made by `open_client`."""

    def __init__(self, http: httpx.AsyncClient, options: OpenSearchOptions) -> None:
        self._http = http
        self._urls = [url.rstrip("/") for url in options.urls]
        self._gzip = options.gzip
        self._next = 0
        self.failed = dict.fromkeys(_REASONS.values(), 0)
        """Requests that were not carried out so far, by why; one that is tried again counts each time."""

    async def ask(self, method: str, path: str, body: object = None) -> bytes:
        """Send a request with a JSON body, or none, and return the answer.

        Raises:
            StoreError: as one of the kinds above.
        """
        return await self._send(method, path, b"" if body is None else encode(body), _ONE_OBJECT)

    async def ask_lines(self, path: str, lines: Sequence[bytes]) -> bytes:
        """Send a request of many lines, each a JSON object, and return the answer.

        Raises:
            StoreError: as one of the kinds above.
        """
        return await self._send("POST", path, b"\n".join([*lines, b""]), _MANY_LINES)

    async def decoded(self, method: str, path: str, body: object = None) -> Any:
        """Send a request and return the answer, decoded.

        Raises:
            StoreError: as one of the kinds above.
        """
        return read(msgspec.json.decode, await self.ask(method, path, body))

    async def _send(self, method: str, path: str, content: bytes, content_type: str) -> bytes:
        try:
            return await self._answered(method, path, content, content_type)
        except StoreError as error:
            if (reason := _REASONS.get(type(error))) is not None:
                self.failed[reason] += 1
            raise

    async def _answered(self, method: str, path: str, content: bytes, content_type: str) -> bytes:
        headers = {"content-type": content_type} if content else {}
        if self._gzip and len(content) >= _ZIPPED_FROM:
            content = await _zipped(content)
            headers["content-encoding"] = "gzip"
        for attempt in range(len(self._urls)):
            url = self._urls[self._next]
            try:
                response = await self._http.send(self._request(method, url + path, content, headers))
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                # This node has not got the request, so the next one is tried.
                self._turn()
                if attempt + 1 == len(self._urls):
                    raise Unreachable(_AWAY) from error
            except httpx.TimeoutException as error:
                self._turn()
                raise Unreachable("the relay's store takes too long") from error
            except httpx.HTTPError as error:
                self._turn()
                raise Unreachable(_AWAY) from error
            else:
                if response.status_code in _LOST or response.status_code == 503:
                    self._turn()
                return _content(response)
        raise AssertionError("there is at least one URL")

    def _turn(self) -> None:
        """Ask the next node from now on."""
        self._next = (self._next + 1) % len(self._urls)

    def _request(self, method: str, url: str, content: bytes, headers: dict[str, str]) -> httpx.Request:
        length = {"content-length": str(len(content))} if content or method != "GET" else {}
        request = self._http.build_request(method, url, headers=headers | length)
        request.stream = _RequestBody(content)
        return request


class _RequestBody(httpx.AsyncByteStream):
    """A request's body; httpx's own is a generator, which a cancelled request would leave to the garbage collector."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._content)


class _Once:
    def __init__(self, content: bytes) -> None:
        self._left = [content]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


_AWAY: Final = "the relay's store is away"


def read(decode: Callable[[bytes], T], answer: bytes) -> T:
    """Decode an answer.

    Raises:
        Unreachable: it is not an answer of OpenSearch, but of something else on the way.
    """
    try:
        return decode(answer)
    except msgspec.DecodeError as error:
        raise Unreachable("what answers for the relay's store is no OpenSearch") from error


@asynccontextmanager
async def open_client(options: OpenSearchOptions) -> AsyncIterator[OpenSearchClient]:
    """Open a client of the cluster for as long as the context lasts.

    Raises:
        StoreRefused: the file of certificates cannot be read.
    """
    headers = {"authorization": f"ApiKey {options.api_key}"} if options.api_key else {}
    verify = _trusted(options) if any(url.startswith("https:") for url in options.urls) else False
    # No pool limits: a queue of our own requests would hide that the cluster is slow; callers have deadlines.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
    async with httpx.AsyncClient(
        auth=(options.username, options.password) if options.username else None,
        headers={"accept-encoding": "gzip" if options.gzip else "identity", **headers},
        verify=verify,
        limits=limits,
        timeout=httpx.Timeout(options.request_seconds, connect=min(5.0, options.request_seconds)),
        trust_env=False,
    ) as http:
        yield OpenSearchClient(http, options)


def _trusted(options: OpenSearchOptions) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=options.ca_file or None)
    except OSError as error:
        raise StoreRefused(f"opensearch.ca_file: {options.ca_file}: {error.strerror or error}") from error


def _content(response: httpx.Response) -> bytes:
    status = response.status_code
    if status < 300:
        return response.content
    if status == 413:
        raise RequestTooLarge(_TOO_LARGE)
    if status in _LOST:
        raise Unreachable(_AWAY)
    error = _error(response.content)
    if status == 429 and is_larger_than_any(error):
        raise RequestTooLarge(_TOO_LARGE)
    if status == 429:
        raise Overloaded(_IS_BUSY)
    if status == 503:
        raise Busy(_IS_BUSY)
    if error.is_of_too_large_query:
        raise QueryTooLarge(TOO_MUCH_AT_ONCE)
    raise ClusterRefusal(f"the relay's store has refused a request ({status}: {error.type})", status)


_IS_BUSY: Final = "the relay's store is busy"
_TOO_LARGE: Final = "the relay's store takes no request of this size"
TOO_MUCH_AT_ONCE: Final = "these filters ask for more at once than the relay can search; ask for less, or in parts"
_TOO_LARGE_QUERIES: Final = frozenset({"too_many_nested_clauses", "too_many_clauses"})
_LARGE_TERMS: Final = re.compile(r"maxClauseCount|number of terms \[\d+\]")
_PRESSURE: Final = re.compile(r"_operation_bytes=(\d+), max_coordinating_and_primary_bytes=(\d+)")


class Cause(msgspec.Struct, gc=False):
    """What has caused an error."""

    type: str = ""
    reason: Any = ""


class ClusterError(msgspec.Struct, gc=False):
    """An error as OpenSearch tells it."""

    type: str = "no reason given"
    reason: Any = ""
    root_cause: list[Cause] = []

    @property
    def is_of_too_large_query(self) -> bool:
        """True if a search has more clauses or terms than OpenSearch takes; the status of that is 400 or 500."""
        return any(
            cause.type in _TOO_LARGE_QUERIES
            or (cause.type == "query_shard_exception" and _LARGE_TERMS.search(str(cause.reason)) is not None)
            for cause in self.root_cause
        )


class _Failed(msgspec.Struct, gc=False):
    error: ClusterError = msgspec.field(default_factory=ClusterError)


_decode_failed: Final = msgspec.json.Decoder(_Failed).decode


def _error(content: bytes) -> ClusterError:
    """Return an OpenSearch error; an empty one for any other content, which may be any server's page."""
    try:
        return _decode_failed(content).error
    except msgspec.DecodeError:
        return ClusterError()


def is_larger_than_any(error: ClusterError) -> bool:
    """Return True for a write that alone exceeds what a node takes at a time, a tenth of its heap."""
    sizes = _PRESSURE.search(str(error.reason))
    return sizes is not None and int(sizes[1]) > int(sizes[2])


async def _zipped(content: bytes) -> bytes:
    if len(content) < _ZIPPED_IN_THREAD_FROM:
        return gzip.compress(content, _LEVEL, mtime=0)
    return await trio.to_thread.run_sync(gzip.compress, content, _LEVEL)
