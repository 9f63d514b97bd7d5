"""The life of a store in an index: opened once it can be used, and shown whole to searches before it ends."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio
from msgspec.structs import replace

from trio_relay.bus import Bus
from trio_relay.store.archive import NOTHING_KEPT, Archiving
from trio_relay.store.base import StoreError, StoreRefused
from trio_relay.store.opensearch.bulk_size import fitting_bytes
from trio_relay.store.opensearch.client import open_client
from trio_relay.store.opensearch.options import OpenSearchOptions
from trio_relay.store.opensearch.store import OpenSearchStore
from trio_relay.store.opensearch.upgrade import check

_CLOSE_SECONDS: Final = 5


@asynccontextmanager
async def open_opensearch(
    options: OpenSearchOptions,
    *,
    clock: Callable[[], float] = time.time,
    bus: Bus | None = None,
    archiving: Archiving = NOTHING_KEPT,
) -> AsyncIterator[OpenSearchStore]:
    """Open the store behind this alias for as long as the context lasts; any number of relays may have it open.

    Args:
        options: the cluster and the names.
        clock: seconds since 1970.
        bus: what other relays on the same index are told over; None: they follow the index, and so does this one.
        archiving: what is kept of what goes.

    Raises:
        StoreRefused: it cannot be reached, `trio-relay migrate` has to make or upgrade it first, or it is of a newer
            version.
    """
    async with open_client(options) as client:
        if (reason := await check(client, options, has_archive=archiving.is_on)) is not None:
            raise StoreRefused(reason)
        fitting = replace(options, bulk_bytes=await fitting_bytes(client, options))
        store = OpenSearchStore(client, fitting, clock, bus=bus, archiving=archiving)
        await store.show()
        try:
            await store.look()
        except StoreError as error:
            raise StoreRefused(str(error)) from error
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            try:
                yield store
            finally:
                with trio.move_on_after(_CLOSE_SECONDS, shield=True):
                    await store.show()
            nursery.cancel_scope.cancel()
