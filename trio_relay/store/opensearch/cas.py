"""Records for compare and set: as they are at this moment, read by their ids, which needs no refresh."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, TypeVar

import msgspec
import trio

from trio_relay.nostr.event import Event, claimants
from trio_relay.nostr.filter import Filter
from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.client import Busy, OpenSearchClient, Unreachable, read
from trio_relay.store.opensearch.documents import (
    REQUESTS,
    Document,
    Record,
    read_records,
    slot_of,
)
from trio_relay.store.opensearch.others import Others
from trio_relay.store.opensearch.query import TARGETS_AT_A_TIME, deletable
from trio_relay.store.opensearch.remembered import written

T = TypeVar("T")

_RECORDS_AT_A_TIME: Final = 200
"""Records read in one request; each may hold an event of a megabyte."""
_PAUSE: Final = 0.2


def _now() -> int:
    return time.time_ns()


class Records:
    """Reads records, and shows the overlay those that were written.

    Args:
        client: of the cluster.
        bulk: shows trouble in its `trouble`.
        alias: what is read.
        others: hears of what others have written, and has them hear of what this relay writes.
        seconds: how long reading is retried.
        clock: nanoseconds since 1970; None: the system's.
    """

    def __init__(
        self,
        client: OpenSearchClient,
        bulk: Bulk,
        alias: str,
        others: Others,
        seconds: float,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._client = client
        self._bulk = bulk
        self._mget = f"/{alias}/_mget"
        self._search = f"/{alias}/_search?filter_path=hits.hits._id&allow_partial_search_results=false"
        self._overlay = others.overlay
        self._others = others
        self._seconds = seconds
        # One of this relay's own writers at a time, so that they do not conflict with each other.
        self.judging = trio.Lock()
        self._last_arrival = 0
        self._clock = clock or _now

    def arrivals(self, number: int) -> range:
        """Return so many times of arrival, in nanoseconds, each later than all before."""
        first = max(self._clock(), self._last_arrival + 1)
        self._last_arrival = first + number - 1
        return range(first, first + number)

    async def read(self, slots: Iterable[str]) -> dict[str, Record]:
        """Read the records of these slots.

        Raises:
            StoreError: they could not be read.
        """
        wanted = list(dict.fromkeys(slots))
        known: dict[str, Record] = {}
        for start in range(0, len(wanted), _RECORDS_AT_A_TIME):
            part = wanted[start : start + _RECORDS_AT_A_TIME]
            answer = await self._patiently(partial(self._client.ask, "POST", self._mget, {"ids": part}))
            try:
                known |= read_records(part, answer)
            except ValueError as error:
                raise StoreError(f"the relay's store failed ({error})") from error
            for slot in part:
                self._others.read(slot, known[slot])
        return known

    async def find(self, targets: set[tuple[str, str]]) -> set[str]:
        """Find the slots of events by (id, pubkey) where that key may delete the event, in whatever record it is.

        Events of others are not fetched: else a client could have ten thousand large events read into memory.

        Raises:
            StoreError: the cluster could not answer.
        """
        named = Filter(ids=frozenset(event_id for event_id, _ in targets))
        events = (state.event for state in self._overlay.recent().matching(named) if state.event is not None)
        found = {slot_of(event) for event in events if _is_deletable(event, targets)}
        for query in deletable(targets):
            body = {"query": query, "size": TARGETS_AT_A_TIME, "_source": False}
            found.update(_slots(await self._patiently(partial(self._client.ask, "POST", self._search, body))))
        return found

    def note(self, write: Write, before: str | None, event: Event | None) -> None:
        """Show this relay's own clients a write that may have been DONE.

        Args:
            write: what was tried.
            before: the id of the event that was in the record, if any.
            event: the event that is in it now, if any.
        """
        if before is not None and (write.wrote is Wrote.DONE or write.is_uncertain):
            self._overlay.forget(before)
        if write.wrote is Wrote.DONE:
            self.show(write.slot, write.version, event, write.document)
            event_id = "" if event is None else event.id
            gone = before if before is not None and before != event_id else ""
            self._others.tell(written(write.slot, write.version, write.document, gone), event_id)

    def show(self, slot: str, version: int, event: Event | None, made: Document | None = None) -> None:
        """Show this relay's own clients a record as it is now."""
        if self._overlay.put(slot, version, event, made) and event is not None:
            self._overlay.know(event.id, trio.current_time())

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        deadline = trio.current_time() + self._seconds
        has_failed = False
        try:
            while True:
                try:
                    return await ask()
                except (Unreachable, Busy) as error:
                    self._bulk.trouble, has_failed = str(error), True
                    if trio.current_time() + _PAUSE > deadline:
                        raise
                await trio.sleep(_PAUSE)
        finally:
            if has_failed:
                self._bulk.trouble = None


def _is_deletable(event: Event, targets: set[tuple[str, str]]) -> bool:
    return event.kind not in REQUESTS and any((event.id, claimant) in targets for claimant in claimants(event))


class _RecordHit(msgspec.Struct, gc=False):
    slot: str = msgspec.field(name="_id")


class _RecordHits(msgspec.Struct, gc=False):
    hits: list[_RecordHit] = []


class _RecordsResponse(msgspec.Struct, gc=False):
    hits: _RecordHits = msgspec.field(default_factory=_RecordHits)


_decode_hits: Final = msgspec.json.Decoder(_RecordsResponse).decode


def _slots(answer: bytes) -> list[str]:
    return [hit.slot for hit in read(_decode_hits, answer).hits.hits]
