"""Answers from the index: pages in NIP-01's order, merged with what this relay wrote and no search sees yet."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import is_addressable, is_replaceable
from trio_relay.store.base import Page, QueryTooLarge, StoreError
from trio_relay.store.opensearch.client import TOO_MUCH_AT_ONCE, ClusterError, OpenSearchClient, encode, read
from trio_relay.store.opensearch.documents import StoredPart
from trio_relay.store.opensearch.query import NEWEST_FIRST, Query, condition, search_body
from trio_relay.store.opensearch.recent import Recent, State
from trio_relay.store.opensearch.responses import Shards, Whole

_PAGE: Final = 500
_PAGE_BYTES: Final = 2**20
_FIRST_HITS: Final = 64
_FEWEST_HITS: Final = 8
_ANSWER_BYTES: Final = 2**22
"""Rough limit of bytes for one answer of the cluster: an event may have a megabyte, which is not known before."""
_HEADER: Final = b"{}"
_ONLY: Final = (
    "filter_path=responses.hits.hits._id,responses.hits.hits._version,responses.hits.hits.sort,"
    "responses.hits.hits._source.event,responses.hits.hits._source.arrived,"
    "responses.error.type,responses.error.root_cause,responses.timed_out,responses._shards.failed"
)


class Columns(msgspec.Struct, gc=False):
    """What the columns of an index have of a document; only scans ask for them."""

    kind: list[str] = []
    created_at: list[int] = []
    id: list[str] = []
    pubkey: list[str] = []
    tags: list[str] = []
    marks: list[str] = []
    expires: list[int] = []


class Hit(msgspec.Struct, gc=False):
    """A document that a search found."""

    slot: str = msgspec.field(name="_id")
    sort: list[Any]
    version: int = msgspec.field(name="_version", default=0)
    seq_no: int = msgspec.field(name="_seq_no", default=0)
    primary_term: int = msgspec.field(name="_primary_term", default=0)
    index: str = msgspec.field(name="_index", default="")
    source: StoredPart = msgspec.field(name="_source", default_factory=StoredPart)
    fields: Columns = msgspec.field(default_factory=Columns)

    @property
    def versions_until(self) -> int:
        """When its event was made, if that is a version of an address; -1 if not. Only `scan.bare_scan` asks for it."""
        columns = self.fields
        has_address = any(is_replaceable(kind) or is_addressable(kind) for kind in map(int, columns.kind))
        return max(columns.created_at, default=-1) if has_address else -1


class _Hits(msgspec.Struct, gc=False):
    hits: list[Hit] = []


Meet: TypeAlias = Callable[[Sequence[Hit]], None]
"""Called with the events that a search has found, before anybody else has them; sync."""


class SearchResponse(msgspec.Struct, gc=False):
    """The answer to one search of many; `check` it first."""

    hits: _Hits = msgspec.field(default_factory=_Hits)
    timed_out: bool = False
    shards: Shards = msgspec.field(name="_shards", default_factory=Shards)
    error: ClusterError | None = None

    def check(self) -> list[Hit]:
        """Return the hits if every shard has answered.

        Raises:
            QueryTooLarge: the search has too many conditions.
            StoreError: some have not: a part of an answer must not pass for all of it.
        """
        if self.error is not None and self.error.is_of_too_large_query:
            raise QueryTooLarge(TOO_MUCH_AT_ONCE)
        if self.error is not None or self.timed_out or self.shards.failed:
            raise StoreError(f"the relay's store could not search ({self.error.type if self.error else 'in part'})")
        return self.hits.hits


class Appetite:
    """The number of hits that the next request asks for: few at first, then as many as their size allows."""

    def __init__(self) -> None:
        self.hits = _FIRST_HITS

    def learn(self, answers: Sequence[Sequence[Hit]]) -> None:
        """Adjust to the sizes of these answers."""
        if number := sum(map(len, answers)):
            size = sum(len(hit.source.event) for hits in answers for hit in hits) // number
            self.hits = max(_FEWEST_HITS, min(_PAGE, _ANSWER_BYTES // max(size, 1)))


class _Responses(msgspec.Struct, gc=False):
    responses: list[SearchResponse]


_decode: Final = msgspec.json.Decoder(_Responses).decode


W = TypeVar("W", bound=Whole)


async def search_whole(client: OpenSearchClient, alias: str, body: Query, kind: type[W], only: str = "") -> W:
    """Search, and return the answer if every shard has answered.

    Args:
        client: of the cluster.
        alias: what is searched.
        body: the search.
        kind: the type of the answer.
        only: the part of its `hits` that is asked for; empty for all.

    Raises:
        StoreError: some shards have not answered, or the answer is not of this type.
    """
    filtered = f"&filter_path=timed_out,_shards.failed,{only}" if only else ""
    answer = await client.ask("POST", f"/{alias}/_search?allow_partial_search_results=false{filtered}", body)
    found: W = read(msgspec.json.Decoder(kind).decode, answer)
    if found.timed_out or found.shards.failed:
        raise StoreError("the relay's store could not search (in part)")
    return found


async def search_many(client: OpenSearchClient, alias: str, bodies: Sequence[Query]) -> list[list[Hit]]:
    """Do several searches in one request, and return the hits of each.

    Raises:
        StoreError: one of them could not be carried out.
    """
    lines = [line for body in bodies for line in (_HEADER, encode(body))]
    # A shard's failure does not fail the request, so each answer has to be checked.
    answer = await client.ask_lines(f"/{alias}/_msearch?{_ONLY}", lines)
    return [response.check() for response in read(_decode, answer).responses]


@dataclass(slots=True, eq=False)
class _Stream:
    """The answer to one filter, in order, as far as it has been read.

    Attributes:
        query: the filter's condition.
        recent: matching states that searches may not see yet; in order, those that were not sent yet.
        left: how many events may still be sent.
        after: where the next search begins.
        asked: the number of hits that the last search asked for.
        is_read: True once the index has no more.
        found: what is ready to be sent, in order: key and JSON.
    """

    query: Query
    recent: deque[State]
    left: int
    after: list[Any] = field(default_factory=list)
    asked: int = 0
    is_read: bool = False
    found: deque[tuple[tuple[int, str], bytes]] = field(default_factory=deque)

    @property
    def is_hungry(self) -> bool:
        """True if it has to be searched before the next event is known."""
        return not self.found and not self.is_read and self.left > 0

    def body(self, most: int) -> Query:
        """Make the next search; it asks for one hit more than needed, so that one hidden hit costs no second search."""
        self.asked = min(self.left + 1, most)
        return search_body(self.query, NEWEST_FIRST, self.asked, self.after)

    def take(self, hits: list[Hit], seen: Recent) -> None:
        """Merge the hits with the recent states that come before the last of them."""
        self.is_read = len(hits) < self.asked
        merged = [(_key(hit), hit.source.event.encode()) for hit in hits if not self._is_hidden(hit, seen)]
        if hits:
            self.after = hits[-1].sort
            end = _key(hits[-1])
        while self.recent and (self.is_read or self.recent[0].key <= end):
            state = self.recent.popleft()
            merged.append((state.key, state.json))
        merged.sort()
        self.found.extend(merged[: self.left])
        self.left -= min(self.left, len(merged))

    def _is_hidden(self, hit: Hit, seen: Recent) -> bool:
        if seen.hides(hit.slot, hit.version):
            return True
        if (state := seen.state(hit.slot)) is not None and state in self.recent:
            self.recent.remove(state)  # another relay has written it since
        return False


def _key(hit: Hit) -> tuple[int, str]:
    created_at, event_id = hit.sort
    return -created_at, event_id


async def newest_first(
    client: OpenSearchClient,
    alias: str,
    filters: Sequence[Filter],
    recent: Recent,
    now: int,
    meet: Meet = lambda _hits: None,
) -> AsyncGenerator[Page, None]:
    """Answer filters without searches: each event once, in NIP-01's order, in pages.

    Args:
        client: of the cluster.
        alias: what is searched.
        filters: each has a limit.
        recent: the overlay before the first search.
        now: seconds since 1970; what has expired by then is left out.
        meet: told of what was found before it is shown.

    Raises:
        StoreError: from a step, when the cluster could not answer.
    """
    streams = [
        _Stream(condition(filter_, now=now), deque(recent.matching(filter_, now)), filter_.limit or 0)
        for filter_ in filters
        if filter_.wants_stored
    ]
    appetite = Appetite()
    page: Page = []
    filled = 0
    last: tuple[int, str] | None = None
    while streams:
        if hungry := [stream for stream in streams if stream.is_hungry]:
            share = max(1, appetite.hits // len(hungry))
            answers = await search_many(client, alias, [stream.body(share) for stream in hungry])
            appetite.learn(answers)
            for hits in answers:
                meet(hits)
            for stream, hits in zip(hungry, answers, strict=True):
                stream.take(hits, recent)
            continue  # one of the searches may have found only hidden hits
        streams = [stream for stream in streams if stream.found]
        if streams:
            stream = min(streams, key=lambda stream: stream.found[0][0])
            key, json = stream.found.popleft()
            if key != last:
                page.append(json)
                filled += len(json)
                last = key
        if len(page) == _PAGE or filled > _PAGE_BYTES or (page and not streams):
            yield page
            page, filled = [], 0
