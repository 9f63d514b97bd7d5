"""The relay's own small things in the index, such as who is banned: values by name, a register each."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Final

from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.bulk import Bulk, Write, Wrote
from trio_relay.store.opensearch.cas import Registers
from trio_relay.store.opensearch.client import Client
from trio_relay.store.opensearch.documents import Document, kept_slot, memo, value_of
from trio_relay.store.opensearch.query import Query
from trio_relay.store.opensearch.scan import scan

_MOST_ROUNDS: Final = 50
_A_NAME: Final[Query] = {"exists": {"field": "name"}}


async def kept(client: Client, alias: str) -> dict[str, bytes]:
    """All that is kept and can be searched.

    Raises:
        StoreError: the cluster could not answer.
    """
    async with aclosing(scan(client, alias, _A_NAME)) as pages:
        return {hit.source.name: value_of(hit.source) async for hits in pages for hit in hits}


async def keep(registers: Registers, bulk: Bulk, changes: Mapping[str, bytes | None]) -> None:
    """Put values under names, or forget those whose value is None. Of two relays the later one's value stays.

    Raises:
        StoreError: it failed; a part may be kept.
    """
    left = dict(changes)
    for _ in range(_MOST_ROUNDS):
        if not left:
            return
        known = await registers.read(map(kept_slot, left))
        arrivals = registers.arrivals(len(left))
        writes = {
            name: Write(slot := kept_slot(name), known[slot], _document(name, value, arrived))
            for (name, value), arrived in zip(left.items(), arrivals, strict=True)
        }
        await bulk.carry_out(list(writes.values()))
        if failed := [one for one in writes.values() if one.wrote is Wrote.FAILED]:
            raise StoreError(failed[0].reason)
        left = {name: left[name] for name, one in writes.items() if one.wrote is not Wrote.DONE}
    raise StoreError("the relay's store is written by too many")


def _document(name: str, value: bytes | None, arrived: int) -> Document:
    # A document of nothing rather than none: an upgrade would copy what it had copied before.
    return Document(arrived) if value is None else memo(name, value, arrived)
