"""Follows the index: finds what others have written by its time of arrival, in looks that overlap.

Documents become visible later than they arrived, and not in order: a write may be tried again for seconds, its refresh
comes later, and the clock of another relay may be behind. So each look goes back behind the one before, and `Others`
knows what it has heard already. Two rhythms keep that cheap:

    every `refresh_seconds`   a look that goes back `_SHORT_SECONDS`: what is as late as usual
    every `_DEEP_SECONDS`     one that goes back `_LONG_SECONDS`: what is later than that

A look first asks for times and ids alone, which come from columns: nothing at all where nobody has written lately. Only
what is new among them is fetched. A look begins where the last one that was carried through ended, less what it goes
back, so that what a cluster that was away has hidden is found once it is back.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

import msgspec
import structlog
import trio

from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.client import OpenSearchClient, read
from trio_relay.store.opensearch.others import Others
from trio_relay.store.opensearch.pages import Appetite, Hit, SearchResponse, search_whole
from trio_relay.store.opensearch.query import Query
from trio_relay.store.opensearch.refresh import Refresher
from trio_relay.store.opensearch.remembered import Written
from trio_relay.store.opensearch.responses import Whole
from trio_relay.turns import Turn

log = structlog.get_logger("trio_relay.store")

_SHORT_SECONDS: Final = 5.0
"""More than the refresh of a write and the difference of two clocks take, mostly."""
_DEEP_SECONDS: Final = 15.0
_LONG_SECONDS: Final = 60.0
"""Half a minute that a write may stay invisible if its relay was killed, ten seconds that it may be tried again, and
twenty that two clocks may differ."""
_REMEMBERED_SECONDS: Final = 120.0
"""What arrived longer before a look than this is old, whoever finds it."""
_TIMES_AT_A_TIME: Final = 2_000
"""Times and ids in one answer of the cluster: taking it apart is a turn of the loop."""
_FETCHED_AT_A_TIME: Final = 500
_SECOND: Final = 10**9
_IN_ORDER: Final[list[Query]] = [{"arrived": "asc"}, {"id": "asc"}, {"grave": "asc"}]


class Follower:
    """Looks for what others have written.

    Args:
        client: of the cluster.
        alias: what is searched.
        refresher: makes visible, after a gap, what others have written.
        others: hears what is found.
        seconds: between two looks.
        clock: nanoseconds since 1970, as `Document.arrived`; None: the system's.
    """

    def __init__(
        self,
        client: OpenSearchClient,
        alias: str,
        refresher: Refresher,
        others: Others,
        seconds: float,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._client = client
        self._alias = alias
        self._refresher = refresher
        self._others = others
        self._seconds = seconds
        self._clock = clock or time.time_ns
        self._wanted = trio.Event()
        self._looked = 0
        self._looked_at = trio.current_time()
        self._deep_at = -_DEEP_SECONDS
        self._is_failing = False

    @property
    def seconds_behind(self) -> float:
        """Seconds since the last look that was carried through began."""
        return trio.current_time() - self._looked_at

    async def begin(self) -> None:
        """Remember all that is visible now: it is no news.

        Raises:
            StoreError: the cluster could not answer.
        """
        now, remembered = self._clock(), self._others.remembered
        remembered.raise_floor(now - _nanoseconds(_REMEMBERED_SECONDS))
        async with aclosing(self._times(remembered.floor)) as pages:
            async for page in pages:
                for arrived, event_id, _ in page:
                    remembered.add(arrived, event_id or "")
        self._looked, self._looked_at = now, trio.current_time()

    def hurry(self) -> None:
        """Look soon, at all that others have written until then: something of it may have been missed."""
        self._wanted.set()

    async def run(self, is_told: Callable[[], bool] = lambda: False) -> None:
        """Look again and again, until cancelled; while `is_told` what others write, deep looks alone are made."""
        while True:
            with trio.move_on_after(min(self._seconds, _DEEP_SECONDS)):
                await self._wanted.wait()
            is_wanted, self._wanted = self._wanted.is_set(), trio.Event()
            is_deep = is_wanted or self._is_failing or trio.current_time() >= self._deep_at + _DEEP_SECONDS
            if self._others.audience is None or (is_told() and not is_deep):
                continue
            try:
                # A cluster that is back may not have been asked yet to show what was written before it was away.
                await self.look(is_deep=is_deep, is_fresh=is_wanted or self._is_failing)
            except StoreError as error:
                if is_wanted:
                    self.hurry()
                    await trio.sleep(self._seconds)
                if not self._is_failing:
                    log.warning("cannot look for what other relays have written", error=str(error))
                self._is_failing = True
            else:
                self._is_failing = False

    async def look(self, *, is_deep: bool = True, is_fresh: bool = False) -> None:
        """Find what others have written, and wait until it is delivered.

        Args:
            is_deep: go back far.
            is_fresh: refresh first, so that all that anyone has written is found.

        Raises:
            StoreError: the cluster could not answer; a part may have been heard.
        """
        if is_fresh:
            await self._refresher.cover(of_others=True)
        now, at = self._clock(), trio.current_time()
        back = _LONG_SECONDS if is_deep else _SHORT_SECONDS
        async with aclosing(self._times(self._looked - _nanoseconds(back))) as pages:
            async for page in pages:
                await self._hear(page)
        self._looked, self._looked_at = max(self._looked, now), at
        if is_deep:
            self._deep_at = at
            self._others.remembered.raise_floor(now - _nanoseconds(_REMEMBERED_SECONDS))

    async def _hear(self, page: Sequence[_Time]) -> None:
        turn = Turn()
        unknown: list[int] = []
        for arrived, event_id, _ in page:
            if not self._others.remembered.has(arrived, event_id or ""):
                unknown.append(arrived)
            if turn.is_over:
                await turn.give()
        for start in range(0, len(unknown), _FETCHED_AT_A_TIME):
            async with aclosing(self._documents(unknown[start : start + _FETCHED_AT_A_TIME])) as found:
                async for hits in found:
                    self._others.hear(list(map(_written, hits)), "index")
                    await self._others.drained()

    async def _times(self, since: int) -> AsyncGenerator[list[_Time], None]:
        """Yield time of arrival and id of all that is visible and arrived since then, in pages, in order."""
        query: Query = {"bool": {"filter": [{"range": {"arrived": {"gte": since}}}]}}
        bare: Query = {"_source": False, "stored_fields": "_none_", "version": False}
        body = {"query": query, "sort": _IN_ORDER, "size": _TIMES_AT_A_TIME, "track_total_hits": False} | bare
        while True:
            hits = (await search_whole(self._client, self._alias, body, _Times, "hits.hits.sort")).hits.hits
            if hits:
                yield [hit.sort for hit in hits]
            if len(hits) < _TIMES_AT_A_TIME:
                return
            body["search_after"] = hits[-1].sort

    async def _documents(self, times: list[int]) -> AsyncGenerator[list[Hit], None]:
        """Yield the documents that arrived at these times, in order, as many in a page as may be large."""
        path = f"/{self._alias}/_search?allow_partial_search_results=false"
        body: Query = {
            "query": {"bool": {"filter": [{"terms": {"arrived": times}}]}},
            "sort": _IN_ORDER,
            "track_total_hits": False,
            "version": True,
        }
        appetite = Appetite()
        while True:
            size = body["size"] = appetite.hits
            hits = read(_decode, await self._client.ask("POST", path, body)).check()
            appetite.learn([hits])
            if hits:
                yield hits
            if len(hits) < size:
                return
            body["search_after"] = hits[-1].sort


def _nanoseconds(seconds: float) -> int:
    return int(seconds * _SECOND)


def _written(hit: Hit) -> Written:
    source = hit.source
    gone = source.tombstone.partition(":")[0]
    return Written(
        hit.slot, hit.version, source.arrived, source.event, gone, source.until, source.vanished, source.name
    )


_Time = tuple[int, str | None, str | None]
"""Time of arrival, and the id of the event or the tombstone in the record, if there is one."""


class _TimeHit(msgspec.Struct, gc=False):
    sort: _Time


class _TimeHits(msgspec.Struct, gc=False):
    hits: list[_TimeHit]


class _Times(Whole, gc=False):
    hits: _TimeHits = msgspec.field(default_factory=lambda: _TimeHits([]))


_decode: Final = msgspec.json.Decoder(SearchResponse).decode
