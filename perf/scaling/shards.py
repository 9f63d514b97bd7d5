"""What a node of OpenSearch spends on a search and on a `_bulk`, by the number of shards that it has to ask.

All shards stand on one node, which has nothing else to do, so what a request costs the whole cluster is seen at once:
what one node would spend on asking, and what the others would spend on answering.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, Final, NamedTuple

import httpx
import msgspec
import trio

from perf.cluster import Cluster
from perf.corpus import signed_events
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.store.opensearch import migrate
from trio_relay.store.opensearch.bulk import Write
from trio_relay.store.opensearch.documents import Record, document, slot_of
from trio_relay.store.opensearch.mapping import alias_of
from trio_relay.store.opensearch.query import NEWEST_FIRST, condition, search_body

SHARDS: Final = (1, 4, 16)
BULKS: Final = (1, 10, 100, 1_000)
"""Documents of a `_bulk`."""
_CORPUS: Final = 45_000
_STORED: Final = 40_000
_LATEST: Final = 500
_BULKS: Final = 100
_LARGE_BULKS: Final = 10
_SEARCHES: Final = {"id": 400, "latest": 30}
"""How many of a shape are one measurement."""
_ROUNDS: Final = 6
"""The cheapest of them counts: a JVM compiles little by little what it does, and neighbours only ever add to it."""
_NDJSON: Final = {"content-type": "application/x-ndjson"}
_json: Final = msgspec.json.Encoder().encode


class Spent(NamedTuple):
    """What one request took: seconds of the node's CPU, and seconds until its answer, asked one at a time."""

    cpu: float
    waited: float


class Seen(NamedTuple):
    """What an index of so many shards takes.

    Attributes:
        shards: of the index.
        searches: by the shape of what was asked.
        bulks: by the number of documents.
    """

    shards: int
    searches: dict[str, Spent]
    bulks: dict[int, Spent]


HEAD: Final = (
    "shards", *(f"{shape}: CPU, wait" for shape in _SEARCHES), *(f"_bulk of {count:,}: CPU, wait" for count in BULKS)
)  # fmt: skip


def row(seen: Seen) -> list[str]:
    """What was seen, in milliseconds."""
    spent = [*seen.searches.values(), *seen.bulks.values()]
    return [str(seen.shards), *(f"{one.cpu * 1e3:.2f}, {one.waited * 1e3:.2f} ms" for one in spent)]


def look(
    cluster: Cluster, shards: Sequence[int] = SHARDS, stored: int = _STORED, share: float = 1, rounds: int = _ROUNDS
) -> list[Seen]:
    """Write indices of so many shards each, and ask them in turns.

    Args:
        cluster: has a node that does nothing else.
        shards: of each index.
        stored: events that each has before anything is measured, 600 bytes each.
        share: of the usual number of requests, for a trial.
        rounds: in which each index has its turn.
    """
    events = signed_events(max(_CORPUS if stored == _STORED else 0, stored + BULKS[-1]))
    with ExitStack() as ends:
        clients = [ends.enter_context(_index(cluster, count)) for count in shards]
        for http in clients:
            for bulk in _bulks(events[:stored], 1_000):
                _post(http, "/_bulk", bulk)
            _post(http, "/_refresh")
        searches = {
            shape: _least(cluster, clients, "/_search", _asked(shape, events[:stored], share), rounds)
            for shape in _SEARCHES
        }
        bulks = {
            count: _least(cluster, clients, "/_bulk", _new(events[stored:], count, share), rounds) for count in BULKS
        }
    return [
        Seen(
            count,
            {shape: spent[number] for shape, spent in searches.items()},
            {size: spent[number] for size, spent in bulks.items()},
        )
        for number, count in enumerate(shards)
    ]


@contextmanager
def _index(cluster: Cluster, shards: int) -> Iterator[httpx.Client]:
    """A client whose paths are those of an index of its own."""
    prefix = f"perf-shards-{shards}"
    options = msgspec.structs.replace(cluster.options(prefix), shards=shards)
    cluster.remove(prefix)
    trio.run(migrate, options, lambda _: None)
    try:
        with httpx.Client(base_url=f"{cluster.url}/{alias_of(options)}", timeout=60, trust_env=False) as http:
            yield http
    finally:
        cluster.remove(prefix)


def _least(
    cluster: Cluster,
    clients: Sequence[httpx.Client],
    path: str,
    bodies: Callable[[int], Sequence[bytes]],
    rounds: int,
) -> list[Spent]:
    """What a request takes of each index on average, in the cheapest of its rounds."""
    turns = [[_spent(cluster, http, path, bodies(number)) for http in clients] for number in range(rounds)]
    return [min(spent) for spent in zip(*turns, strict=True)]


def _spent(cluster: Cluster, http: httpx.Client, path: str, bodies: Sequence[bytes]) -> Spent:
    cpu, start = cluster.cpu(), time.perf_counter()
    for body in bodies:
        _post(http, path, body)
    if path == "/_bulk" and len(bodies) <= _LARGE_BULKS:
        _post(http, "/_refresh")  # segments are the greater part of the work
    return Spent((cluster.cpu() - cpu) / len(bodies), (time.perf_counter() - start) / len(bodies))


def _post(http: httpx.Client, path: str, body: bytes = b"") -> None:
    answer = http.post(
        path, content=body, headers=_NDJSON if path == "/_bulk" else {"content-type": "application/json"}
    )
    answer.raise_for_status()


def _asked(shape: str, stored: Sequence[Event], share: float) -> Callable[[int], Sequence[bytes]]:
    """Searches of one shape, others in each round."""

    def make(number: int) -> list[bytes]:
        random = Random(number)
        count = max(1, round(_SEARCHES[shape] * share))
        return [_json(_one(shape, stored, random)) for _ in range(count)]

    return make


def _one(shape: str, stored: Sequence[Event], random: Random) -> dict[str, Any]:
    if shape == "id":
        return search_body(condition(Filter(ids=frozenset({random.choice(stored).id}))), NEWEST_FIRST, 1)
    until = stored[-1].created_at - random.randrange(len(stored) // 10)
    return search_body(condition(Filter(kinds=frozenset({1}), until=until)), NEWEST_FIRST, _LATEST)


def _new(events: Sequence[Event], count: int, share: float) -> Callable[[int], Sequence[bytes]]:
    """`_bulk`s of so many new documents each, and one refresh where they are as large as under load."""

    def make(number: int) -> list[bytes]:
        wanted = max(1, round(share * (_BULKS if count < BULKS[-1] else _LARGE_BULKS)))
        return [_bulk(events[:count], f"{number} {count} {one}") for one in range(wanted)]

    return make


def _bulks(events: Sequence[Event], count: int) -> Iterator[bytes]:
    """The events as `_bulk`s of so many; what does not fill one is left out."""
    for start in range(0, len(events) - count + 1, count):
        yield _bulk(events[start : start + count])


def _bulk(events: Sequence[Event], name: str = "") -> bytes:
    """One `_bulk`; a name makes other documents of the same events."""
    lines = [
        Write(slot_of(event) + name, Record(), document(event, number)).lines()
        for number, event in enumerate(events, time.time_ns())
    ]
    return b"\n".join([*lines, b""])
