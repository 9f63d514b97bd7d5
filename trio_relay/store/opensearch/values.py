"""The relay's own small values by name, such as who is banned: compared and set, and known unasked where possible.

Each has a record. Over the bus others tell at once what they have put or deleted, with the version of the record, so
that what was read once is known from then on. Without a bus, while it is away, and after a gap the index is asked.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final, NamedTuple

import trio

from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.cas import Records
from trio_relay.store.opensearch.client import OpenSearchClient
from trio_relay.store.opensearch.documents import Document, kept_slot, memo, value_of
from trio_relay.store.opensearch.others import Others
from trio_relay.store.opensearch.query import Query
from trio_relay.store.opensearch.remembered import Written, written
from trio_relay.store.opensearch.scan import scan

_MOST_ROUNDS: Final = 50
_A_NAME: Final[Query] = {"exists": {"field": "name"}}


class _Value(NamedTuple):
    version: int
    value: bytes | None


class KeptValues:
    """What this relay knows of the values.

    Args:
        client: of the cluster.
        alias: where they are.
        bulk: sends writes.
        records: reads records.
        others: tell of values that they have changed, and hear of what this relay changes.
    """

    def __init__(self, client: OpenSearchClient, alias: str, bulk: Bulk, records: Records, others: Others) -> None:
        self._client = client
        self._alias = alias
        self._bulk = bulk
        self._records = records
        self._others = others
        self._known: dict[str, _Value] = {}
        self._is_whole = False
        self._doubts = 0
        self._reading = trio.Lock()

    def take(self, one: Written) -> None:
        """Note that a value was put, or deleted; sync."""
        known = self._known.get(one.name)
        if known is None or known.version < one.version:
            self._known[one.name] = _Value(one.version, None if one.value is None else b64decode(one.value))

    def doubt(self) -> None:
        """Ask the index the next time: something may have changed that was not told; sync."""
        self._is_whole = False
        self._doubts += 1

    def known(self) -> dict[str, bytes] | None:
        """Return all values by name, if all are known that others have told."""
        return self._values() if self._is_whole else None

    async def read(self) -> dict[str, bytes]:
        """Return all values by name, as far as they can be searched or were told.

        Raises:
            StoreError: the cluster could not answer.
        """
        async with self._reading:
            doubts, self._known = self._doubts, {}  # what is told from now on counts if it is newer than what is found
            self._is_whole = False
            async with aclosing(scan(self._client, self._alias, _A_NAME)) as pages:
                found = {
                    hit.source.name: _Value(hit.version, value_of(hit.source)) async for hits in pages for hit in hits
                }
            for name, one in found.items():
                if name not in self._known or self._known[name].version < one.version:
                    self._known[name] = one
            self._is_whole = doubts == self._doubts
            return self._values()

    def _values(self) -> dict[str, bytes]:
        return {name: one.value for name, one in self._known.items() if one.value is not None}

    async def put(self, changes: Mapping[str, bytes | None]) -> None:
        """Put values under names, or delete those whose value is None; of two relays the later one wins.

        Raises:
            StoreError: it failed; a part may be kept.
        """
        left = dict(changes)
        for _ in range(_MOST_ROUNDS):
            if not left:
                return
            known = await self._records.read(map(kept_slot, left))
            arrivals = self._records.arrivals(len(left))
            writes = {
                name: Write(slot := kept_slot(name), known[slot], _document(name, value, arrived))
                for (name, value), arrived in zip(left.items(), arrivals, strict=True)
            }
            await self._bulk.carry_out(list(writes.values()))
            for name, write in writes.items():
                if write.wrote is Wrote.DONE:
                    self._tell(written(write.slot, write.version, write.document, name=name))
            if failed := [write for write in writes.values() if write.wrote is Wrote.FAILED]:
                raise StoreError(failed[0].reason)
            left = {name: left[name] for name, write in writes.items() if write.wrote is not Wrote.DONE}
        raise StoreError("the relay's store has too many writers at a time")

    def _tell(self, one: Written) -> None:
        self.take(one)
        self._others.tell(one)


def _document(name: str, value: bytes | None, arrived: int) -> Document:
    # An empty document rather than none: else the copy that an upgrade under way has made would stay.
    return Document(arrived) if value is None else memo(name, value, arrived)
