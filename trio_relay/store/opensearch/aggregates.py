"""Sketches of who has written what matches (NIP-45): the cluster counts, so that no event leaves it.

A script makes the registers of what was found from the pubkeys alone, so that documents need no field for it, and what
was deleted counts no more.
"""

from __future__ import annotations

from typing import Final

from trio_relay.nostr.hyperloglog import REGISTERS, Sketch
from trio_relay.store.opensearch.client import Client
from trio_relay.store.opensearch.pages import search_whole
from trio_relay.store.opensearch.query import Query
from trio_relay.store.opensearch.responses import Sketched

# The twin of `sketches.observation`: seven bytes behind the register's own, which a number of 64 bits holds with 8 to
# spare, so that the zeros are seven too many where one is to be added.
_MAP: Final = (
    "String key = doc['pubkey'].value; int at = 2 * params.offset;"
    " int place = Integer.parseInt(key.substring(at, at + 2), 16);"
    " int value = Long.numberOfLeadingZeros(Long.parseLong(key.substring(at + 2, at + 16), 16)) - 7;"
    " if (value > state.registers[place]) { state.registers[place] = value }"
)
_REDUCE: Final = (
    "int[] all = new int[params.size];"
    " for (registers in states) { if (registers != null) {"
    " for (int place = 0; place < params.size; place++) {"
    " if (registers[place] > all[place]) { all[place] = registers[place] } } } } return all"
)


async def sketch(client: Client, alias: str, query: Query, offset: int) -> Sketch:
    """How many events meet a condition, and the registers of their authors.

    Args:
        client: of the cluster.
        alias: what is searched.
        query: the condition; nothing but events may meet it.
        offset: where in a pubkey the sketch looks, 8 to 23.

    Raises:
        StoreError: the cluster could not answer.
    """
    found = await search_whole(client, alias, _body(query, offset), Sketched)
    return Sketch(found.hits.total.value, bytes(found.aggregations.sketch.value))


def _body(query: Query, offset: int) -> Query:
    script: Query = {
        "init_script": "state.registers = new int[params.size]",
        "map_script": _MAP,
        "combine_script": "return state.registers",
        "reduce_script": _REDUCE,
        "params": {"offset": offset, "size": REGISTERS},
    }
    return {"query": query, "size": 0, "track_total_hits": True, "aggs": {"sketch": {"scripted_metric": script}}}
