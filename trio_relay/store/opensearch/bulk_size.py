"""Bounds `_bulk` requests by what the nodes of the cluster say of themselves."""

from __future__ import annotations

from typing import Final

import msgspec
import structlog

from trio_relay.store.base import StoreError
from trio_relay.store.opensearch.client import OpenSearchClient, read
from trio_relay.store.opensearch.options import OpenSearchOptions

log = structlog.get_logger("trio_relay.store")

_PART_OF_HEAP: Final = 20
"""A node refuses writes beyond a tenth of its heap (indexing_pressure.memory.limit), whoever sends them: this relay's
writers may fill half of that, so that they fit beside another relay's, and beside what a node adds to each document."""
_FEWEST_BYTES: Final = 65_536
_NODES: Final = (
    "/_nodes/jvm,http?filter_path=nodes.*.jvm.mem.heap_max_in_bytes,nodes.*.http.max_content_length_in_bytes"
)


class _Memory(msgspec.Struct):
    heap_max_in_bytes: int


class _Jvm(msgspec.Struct):
    mem: _Memory


class _Http(msgspec.Struct):
    max_content_length_in_bytes: int


class _Node(msgspec.Struct):
    jvm: _Jvm | None = None
    http: _Http | None = None


class _Nodes(msgspec.Struct):
    nodes: dict[str, _Node] = {}


async def fitting_bytes(client: OpenSearchClient, options: OpenSearchOptions) -> int:
    """Return the longest `_bulk` request that fits every node: `bulk_bytes`, or less.

    A cluster that does not tell, as to a user without the permission, bounds nothing here: a request that it refuses
    is split.
    """
    try:
        told = read(msgspec.json.Decoder(_Nodes).decode, await client.ask("GET", _NODES))
    except StoreError as error:
        log.info("the nodes do not tell their memory, so opensearch.bulk_bytes stands as it is", error=str(error))
        return options.bulk_bytes
    bounds = [options.bulk_bytes]
    for node in told.nodes.values():
        if node.jvm is not None:
            bounds.append(node.jvm.mem.heap_max_in_bytes // (_PART_OF_HEAP * options.writers))
        if node.http is not None:
            bounds.append(node.http.max_content_length_in_bytes)
    if (bound := max(_FEWEST_BYTES, min(bounds))) < options.bulk_bytes:
        log.info("opensearch.bulk_bytes is more than the nodes take", bulk_bytes=options.bulk_bytes, used=bound)
    return min(bound, options.bulk_bytes)
