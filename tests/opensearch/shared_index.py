"""An index for several relays in one process and in virtual time: searches see what the last refresh has shown."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from tests.opensearch.cluster import Asked, Cluster, Held, Index, Reply
from trio_relay.bus import Bus
from trio_relay.store.opensearch import OpenSearchOptions, OpenSearchStore, client, documents, mapping

SOURCE = {*documents.StoredPart.__struct_encode_fields__}


class SharedIndex(Index):
    """Searches too, by the conditions that the store makes but for words.

    Attributes:
        takes: called before and after a request is carried out, how many seconds that takes.
        is_away: each request fails.
    """

    def __init__(self, takes: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self.takes = takes
        self.is_away = False
        self._visible: dict[str, Held] = {}

    async def answer(self, asked: Asked) -> Reply:
        await trio.sleep(self.takes())
        if self.is_away:
            return httpx.ConnectError("away")
        reply = self._carry_out(asked)
        await trio.sleep(self.takes())
        return reply

    def refresh(self) -> None:
        """Show what was written until now."""
        self._visible = dict(self.held)

    def _carry_out(self, asked: Asked) -> Reply:
        if asked.path.startswith("/nostr-archive/"):
            return 404  # nobody keeps what goes
        match asked.kind:
            case "_refresh":
                self.refresh()
                return {"_shards": {"failed": 0}}
            case "_bulk":
                return self._bulk(asked)
            case "_mget":
                return self._mget(asked)
            case "_msearch":
                return {"responses": [self._found_by(body) for body in asked.lines[1::2]]}
            case "_search":
                return {"timed_out": False, "_shards": {"failed": 0}} | self._found_by(asked.value)
            case "_mapping":
                return {"some": {"mappings": {"_meta": {"version": mapping.VERSION}}}}
            case "point_in_time":
                return {"pit_id": "it"}
        raise AssertionError(asked)

    def _found_by(self, body: dict[str, Any]) -> dict[str, Any]:
        orders = [*map(_order, body.get("sort", []))]
        found = [
            ([key(held.source) for key, _ in orders], slot, held)
            for slot, held in self._visible.items()
            if meets(body["query"], slot, held.source)
        ]
        total = len(found)
        found.sort(key=lambda hit: hit[0])
        if after := body.get("search_after"):
            passed = [_place(value, is_down) for value, (_, is_down) in zip(after, orders, strict=True)]
            found = [hit for hit in found if hit[0] > passed]
        names = [name for one in body.get("sort", []) for name in one]
        hits = [_hit(slot, held, names, body) for _, slot, held in found[: body["size"]]]
        return {"hits": {"total": {"value": total}, "hits": hits}}


def _hit(slot: str, held: Held, names: Sequence[str], body: dict[str, Any]) -> dict[str, Any]:
    columns = {name: held.source[name] for name in body.get("docvalue_fields", []) if name in held.source}
    about = {"_seq_no": held.seq_no, "_primary_term": 1, "_version": held.version}
    kept = {name: value for name, value in held.source.items() if name in SOURCE}
    fields = {name: value if isinstance(value, list) else [value] for name, value in columns.items()}
    return about | {
        "_id": slot,
        "sort": [held.source.get(name) for name in names],
        "_source": {} if body.get("_source") is False else kept,
        "fields": fields,
    }


def _order(one: dict[str, str]) -> tuple[Callable[[dict[str, Any]], Any], bool]:
    ((name, direction),) = one.items()
    return (lambda source: _place(source.get(name), direction == "desc")), direction == "desc"


def _place(value: Any, is_down: bool) -> tuple[bool, Any]:
    return (True, 0) if value is None else (False, -value if is_down else value)


def meets(query: dict[str, Any], slot: str, source: dict[str, Any]) -> bool:
    """True if a document meets a condition in OpenSearch's language."""
    ((what, about),) = query.items()
    if what == "bool":
        return (
            all(meets(one, slot, source) for one in [*about.get("filter", []), *about.get("must", [])])
            and any(meets(one, slot, source) for one in about.get("should", [{"exists": {"field": "arrived"}}]))
            and not any(meets(one, slot, source) for one in about.get("must_not", []))
        )
    if what == "exists":
        return about["field"] in source
    if what == "ids":
        return slot in about["values"]
    ((name, wanted),) = about.items()
    values = source.get(name, [])
    values = values if isinstance(values, list) else [values]
    if what == "range":
        return any(wanted.get("gte", value) <= value <= wanted.get("lte", value) for value in values)
    assert what in ("term", "terms"), query
    return not {*values}.isdisjoint(wanted if what == "terms" else [wanted])


_relays = itertools.count()


@asynccontextmanager
async def relay_on(
    index: SharedIndex, *, ahead: float = 0.0, bus: Bus | None = None, **changes: Any
) -> AsyncIterator[tuple[OpenSearchStore, Cluster]]:
    """A store on this index that runs as `open_opensearch` would have it, and what it asks.

    Args:
        index: shared with others.
        ahead: seconds by which its clock is ahead of virtual time.
        bus: its side of one that it shares with the others.
        changes: of its options.
    """
    cluster = Cluster(index.answer)
    options = OpenSearchOptions(**{"refresh_seconds": 2.0, "retry_seconds": 5.0} | changes)

    own = next(_relays)  # no two write in the same nanosecond

    def clock() -> int:
        return int((BEGAN + trio.current_time() + ahead) * 10**6) * 1_000 + own

    async with httpx.AsyncClient(transport=httpx.MockTransport(cluster.respond)) as http:
        cluster.client = client.OpenSearchClient(http, options)
        store = OpenSearchStore(cluster.client, options, lambda: BEGAN, clock, bus)
        await store.show()
        await store.look()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(store.run)
            yield store, cluster
            nursery.cancel_scope.cancel()


BEGAN = 1_700_000_000
"""Seconds since 1970 when virtual time is 0."""
