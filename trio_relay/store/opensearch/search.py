"""Searches for words, rankings and counts, which need a complete index: each comes after a refresh."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeVar

from trio_relay.nostr.access import Reader
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch
from trio_relay.nostr.ranking import Voices, candidates, mute_kinds, ranked_by, reference_window
from trio_relay.nostr.search import Sort
from trio_relay.store.base import Page
from trio_relay.store.insight import PlanStep
from trio_relay.store.opensearch.aggregates import sketch
from trio_relay.store.opensearch.client import OpenSearchClient
from trio_relay.store.opensearch.documents import tag_term
from trio_relay.store.opensearch.explain import profile
from trio_relay.store.opensearch.pages import Appetite, Hit, Meet, search_many, search_whole
from trio_relay.store.opensearch.query import (
    BEST_FIRST,
    NEWEST_FIRST,
    Query,
    condition,
    either,
    expired,
    of_kinds,
    readable,
    search_body,
)
from trio_relay.store.opensearch.responses import Counted, Profiles, Spoken, Whole
from trio_relay.store.opensearch.scan import records

W = TypeVar("W", bound=Whole)

_PAGE: Final = 500
_MOST_AUTHORS: Final = 10_000
"""Most authors of one domain that count."""
_SHOWN: Final = 50
"""Ranked events fetched in one request, whatever their size."""
_NAMED: Final = 500
"""Notes whose references are counted in one request."""


class Searcher:
    """Answers from the index alone.

    Args:
        client: of the cluster.
        alias: what is searched.
        clock: seconds since 1970.
        meet: told of what was found before it is shown.
    """

    def __init__(self, client: OpenSearchClient, alias: str, clock: Callable[[], float], meet: Meet) -> None:
        self._client = client
        self._alias = alias
        self._clock = clock
        self._meet = meet

    async def one_after_another(self, filters: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        """Yield the answers of the filters one after another, each in its own order, no event twice.

        Raises:
            StoreError: from a step, when the cluster could not answer.
        """
        sent: set[str] = set()
        for filter_ in filters:
            if not filter_.wants_stored:
                continue
            ranked = filter_.search is not None and filter_.search.sort is not None
            async with aclosing(self._ranked(filter_) if ranked else self._matching(filter_)) as found:
                async for hits in found:
                    self._meet(hits)
                    # A slot identifies an event as well as its id: a record has one event.
                    page = [hit.source.event.encode() for hit in hits if hit.slot not in sent]
                    sent.update(hit.slot for hit in hits)
                    if page:
                        yield page

    async def count(self, filters: Sequence[Filter]) -> int:
        """Count the events that match any of the filters.

        Raises:
            StoreError: the cluster could not answer.
        """
        conditions = [await self._condition(filter_) for filter_ in filters if not filter_.is_hopeless]
        if not conditions:
            return 0
        body = {"query": either(conditions), "size": 0, "track_total_hits": True}
        return (await self._search(body, Counted)).hits.total.value

    async def sketch(self, filter_: Filter, offset: int) -> Sketch:
        """Count the events that match, and their authors; see `Queryable.sketch`.

        Raises:
            StoreError: the cluster could not answer.
        """
        return await sketch(self._client, self._alias, await self._condition(filter_), offset)

    async def records(self, filter_: Filter) -> AsyncGenerator[bytes, None]:
        """Yield what matches as sync records; see `Queryable.records`.

        Raises:
            StoreError: from a step, when the cluster could not answer.
        """
        if filter_.wants_stored:
            async with aclosing(
                records(self._client, self._alias, await self._condition(filter_), filter_.limit)
            ) as pages:
                async for page in pages:
                    yield page

    async def profile(self, filter_: Filter) -> tuple[tuple[PlanStep, ...], int]:
        """Have the cluster tell how it finds the first page of an answer; see `explain.profile`.

        Raises:
            StoreError: the cluster could not answer.
        """
        is_searched = filter_.search is not None and bool(filter_.search.phrases) and filter_.search.sort is None
        order = BEST_FIRST if is_searched else NEWEST_FIRST
        return await profile(self._client, self._alias, await self._condition(filter_), order, filter_.limit or 0)

    async def meant_by(self, filters: Sequence[Filter]) -> Query | None:
        """Make the condition for everything that matches any of the filters, expired or not; None if nothing can.

        Raises:
            StoreError: the cluster could not answer.
        """
        conditions = [
            condition(filter_, await self._authors_of(filter_)) for filter_ in filters if not filter_.is_hopeless
        ]
        return either(conditions) if conditions else None

    async def _condition(self, filter_: Filter) -> Query:
        return condition(filter_, await self._authors_of(filter_), now=int(self._clock()))

    async def _authors_of(self, filter_: Filter) -> list[str] | None:
        mark = filter_.search.author_mark if filter_.search is not None else None
        return None if mark is None else await self._authors(mark, filter_.reader)

    async def _authors(self, mark: str, reader: Reader | None) -> list[str]:
        """Find the authors whose profile carries this mark; if there are too many, the newest profiles."""
        claims: list[Query] = [{"term": {"marks": mark}}]
        if reader is not None:
            claims.append(readable(reader))
        query: Query = {"bool": {"filter": claims, "must_not": [expired(int(self._clock()))]}}
        body = search_body(query, NEWEST_FIRST, _MOST_AUTHORS) | {"_source": False, "docvalue_fields": ["pubkey"]}
        found = await self._search(body, Profiles)
        return [pubkey for hit in found.hits.hits for pubkey in hit.fields.pubkey]

    async def _matching(self, filter_: Filter, *, as_notes: bool = False) -> AsyncGenerator[list[Hit], None]:
        """Yield what matches, best first; with `as_notes`, newest first and without the events, to be ranked."""
        query = await self._condition(filter_)
        is_searched = filter_.search is not None and bool(filter_.search.phrases)
        order = BEST_FIRST if is_searched and not as_notes else NEWEST_FIRST
        left, after, appetite = filter_.limit or 0, list[Any](), Appetite()
        while left:
            size = min(left, _PAGE if as_notes else appetite.hits)
            body = search_body(query, order, size, after) | ({"_source": False} if as_notes else {})
            (hits,) = await search_many(self._client, self._alias, [body])
            appetite.learn([hits])
            if hits:
                yield hits
                after = hits[-1].sort
            left -= size
            if len(hits) < size:
                return

    async def _ranked(self, filter_: Filter) -> AsyncGenerator[list[Hit], None]:
        assert filter_.search is not None
        assert filter_.search.sort is not None
        now = int(self._clock())
        notes: list[tuple[str, int]] = []
        async with aclosing(self._matching(candidates(filter_, now), as_notes=True)) as found:
            async for hits in found:
                notes += [(hit.sort[1], hit.sort[0]) for hit in hits]
        voices: dict[str, Voices] = {}
        for start in range(0, len(notes), _NAMED):
            voices |= await self._voices(
                filter_, filter_.search.sort, [note for note, _ in notes[start : start + _NAMED]]
            )
        chosen = ranked_by(filter_.search.sort, notes, voices, now, filter_.limit or 0)
        for start in range(0, len(chosen), _SHOWN):
            part = chosen[start : start + _SHOWN]
            body = search_body({"bool": {"filter": [{"terms": {"id": part}}]}}, NEWEST_FIRST, _SHOWN)
            (hits,) = await search_many(self._client, self._alias, [body])
            places = {note: place for place, note in enumerate(part)}
            hits.sort(key=lambda hit: places[hit.sort[1]])
            if hits:
                yield hits

    async def _voices(self, filter_: Filter, sort: Sort, notes: list[str]) -> dict[str, Voices]:
        """Count the keys that refer to each of these notes; votes only if the sort needs them."""
        terms = [tag_term("e", note) for note in notes]
        since, until = reference_window(filter_)
        speaking = Filter(since=since, until=until, tags=(("e", frozenset(notes)),))
        keys: Query = {"keys": {"cardinality": {"field": "pubkey", "precision_threshold": 3_000}}}
        votes: Query = {vote: {"filter": {"term": {"marks": f"vote:{vote}"}}, "aggs": keys} for vote in ("up", "down")}
        body = {
            "query": {
                "bool": {
                    "filter": [condition(speaking, now=int(self._clock()))],
                    "must_not": [of_kinds(mute_kinds(filter_.reader))],
                }
            },
            "size": 0,
            "track_total_hits": False,
            "aggs": {
                "notes": {
                    "terms": {"field": "tags", "include": terms, "size": len(terms)},
                    "aggs": keys | (votes if sort == "controversial" else {}),
                }
            },
        }
        found = await self._search(body, Spoken)
        by_term = dict(zip(terms, notes, strict=True))
        return {
            by_term[bucket.key]: Voices(bucket.keys.value, bucket.up.keys.value, bucket.down.keys.value)
            for bucket in found.aggregations.notes.buckets
            if bucket.key in by_term
        }

    async def _search(self, body: Query, kind: type[W]) -> W:
        return await search_whole(self._client, self._alias, body, kind)
