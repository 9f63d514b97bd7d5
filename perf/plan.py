"""What the harness tells a generator process, and what that tells back: JSON on a pipe each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

QUANTILES: Final = (0.5, 0.99)


class Failed(Exception):
    """A server could not do it: it refused, stalled or ended; the message goes into the report."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done.

    Attributes:
        load: which of `perf.loads`; or "start", see `perf.starting`; or "import", see `perf.importing`.
        port: of the server.
        corpus: how many events the corpus has.
        seed: of the corpus.
        first: where in the corpus the events to be sent begin.
        count: operations: events, or requests, or connections.
        laps: how often the same events are sent.
        connections: that work.
        window: unanswered on each; for a rate, it plays no part.
        subscribers: that listen.
        shape: of requests; see `perf.requests`.
        stored: how many events of the corpus the server has, from its beginning; requests ask for them.
        filled: how many unsigned events the server's store was filled with instead; requests ask for the newest.
        differing: in how many events the set of a sync differs from the filled store's.
        rate: operations a second, at random times; 0: as fast as answers come.
        patience: seconds after which questions without an answer are given up; 0: only when nothing comes any more.
        network: three numbers of IPv4 addresses, of which each connection has one, as a proxy tells it; empty: none.
        url: of an alias of OpenSearch, for the load that has no relay for a server.
        refresh: seconds between two refreshes that this load asks for.
    """

    load: str
    port: int = 0
    corpus: int = 1
    seed: int = 1
    first: int = 0
    count: int = 1
    laps: int = 1
    connections: int = 1
    window: int = 1
    subscribers: int = 0
    shape: str = ""
    stored: int = 0
    filled: int = 0
    differing: int = 0
    rate: float = 0
    patience: float = 0
    network: str = ""
    url: str = ""
    refresh: float = 0


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; seconds.

    Attributes:
        operations: that were answered.
        messages: that came back.
        seconds: from the first question to the last answer.
        latencies: by kind of answer, its `QUANTILES`.
        matches: what all answers to COUNT add up to.
        sent: bytes of what syncs said.
        received: bytes of the answers to that.
        cpu: of the generator.
        unanswered: operations that were given up; their latencies are those until then.
    """

    operations: int
    messages: int
    seconds: float
    latencies: dict[str, list[float]]
    matches: int = 0
    sent: int = 0
    received: int = 0
    cpu: float = 0
    unanswered: int = 0


def quantiles(seconds: Sequence[float]) -> list[float]:
    """The median and the 99th of a hundred."""
    ordered = sorted(seconds)
    return [ordered[min(int(len(ordered) * q), len(ordered) - 1)] for q in QUANTILES] if ordered else []
