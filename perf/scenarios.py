"""What is measured, and the bars that the relay is held to, in one table.

A bar is a number that the relay must not pass. Those in V and F move with the machine as the relay does, so that they
mean the same everywhere; see `perf.yardstick`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final

import msgspec

from perf.plan import Plan

_STORED: Final = 20_000
_MILLION: Final = 1_000_000
_AT_A_MILLION: Final = 1.5
"""Times the bar at 20,000 that a query may cost over a million."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The most that one number of a scenario may be, or the least.

    Attributes:
        quantity: "cpu" and "rss" are of an operation; "p50 OK" and the like are of an answer; "cores" are those that
            server and generator use together; "messages" come back a second; "rate" is that of operations.
        limit: in the unit.
        unit: "V", "V+F", "ms", "B", "cores", "/s", or "x": of the same quantity of another scenario, in V, or of
            another server in the same one.
        strfry: what strfry has, in the same unit, where that was measured.
        is_least: the number may not be less; otherwise not more.
        other: the scenario, or the server, that "x" means.
    """

    quantity: str
    limit: float
    unit: str = "V"
    strfry: float | None = None
    is_least: bool = False
    other: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One measurement.

    Attributes:
        name: on the command line and in the tables.
        title: one line.
        plan: of the load; its `stored` or `filled` events are in the store before.
        bars: for the last of its parts.
        share: not 0: what the plan gives is the server's greatest rate, and then a second part follows, on a fresh
            server, at this share of it, in an open loop.
        settings: variables for the relay.
        alone: why peers take no part; empty if they do.
        is_on_opensearch: what is stored is there, and no peer can take part.
    """

    name: str
    title: str
    plan: Plan
    bars: tuple[Bar, ...] = ()
    share: float = 0
    settings: Mapping[str, str] = field(default_factory=dict)
    alone: str = ""
    is_on_opensearch: bool = False

    @property
    def has_ceiling(self) -> bool:
        """True if a bare loop shows how fast the store could be filled."""
        return self.is_on_opensearch and self.plan.load == "publish"

    @property
    def is_import(self) -> bool:
        """True if a file is imported by the relay's command, beside the pipeline alone."""
        return self.plan.load == "import"

    @property
    def stored(self) -> int:
        """Events that the server has before."""
        return self.plan.filled or self.plan.stored

    def scaled(self, factor: float) -> Scenario:
        """The same with fewer events, requests and connections, for a trial."""
        if factor == 1:
            return self
        less = {
            name: min(full, max(least, round(full * factor)))
            for name, least in _LEAST.items()
            if (full := getattr(self.plan, name))
        }
        plan = msgspec.structs.replace(self.plan, **less)
        return replace(self, plan=msgspec.structs.replace(plan, corpus=max(plan.corpus, plan.first + plan.count)))


_LEAST: Final = {
    "corpus": 400,
    "first": 200,
    "stored": 200,
    "filled": 300,
    "count": 20,
    "subscribers": 20,
    "differing": 20,
}
"""Below them there is too little of anything: no thread to be read, nobody with twenty notes."""


def _plan(load: str, **fields: object) -> Plan:
    return msgspec.convert({"load": load, "corpus": 45_000, **fields}, Plan)


_INGEST: Final = _plan("publish", count=20_000, connections=10, window=200)
_QUERIES: Final = (
    ("id", "an event by its id", 30_000, 2.0, 2.2),
    ("author-kind", "20 notes of an author", 15_000, 3.0, 5.5),
    ("thread", "the answers to an event, by #e", 15_000, 2.5, 2.6),
    ("authors", "100 notes and reposts of 50 authors", 2_500, 18.0, 22.0),
    ("latest", "the latest 500 notes", 1_500, 25.0, 60.0),
)
"""Shape, what it asks for, how often, bar and strfry in V."""
_SEARCHES: Final = (
    ("search", "20 notes with two words that many have", 300),
    ("search-phrase", "20 notes with three words in a row", 1_000),
)
_COUNTS: Final = (
    ("count", "answers", "of the notes and reactions with an #e, without HyperLogLog", 20_000),
    ("count-hll", "reactions", "of the reactions with an #e, with HyperLogLog", 20_000),
    ("count-popular", "followers-since", "of the followers of an author who has thousands, without HyperLogLog", 1_000),
    ("count-popular-hll", "followers", "of the followers of an author who has thousands, with HyperLogLog", 1_000),
)
"""Name, shape, what is counted, how often."""
_ASKED_OF_OPENSEARCH: Final = (
    *((shape, what, count // 5) for shape, what, count, _, _ in _QUERIES),
    *_SEARCHES,
)
_DENIED_PUBKEYS: Final = 1_000
_LONG_AGO: Final = 315_360_000
"""Seconds, ten years: nothing of a corpus is that old."""
_STRICT: Final = {
    "TRIO_RELAY_RELAY__URL": "wss://relay.example.com/",
    "TRIO_RELAY_LIMITS__CREATED_AT_BEHIND": str(_LONG_AGO),
    "TRIO_RELAY_POLICY__PRIVATE_KINDS": "[4, 1059, 21059]",
    "TRIO_RELAY_POLICY__DENIED_KINDS": "[5000, 5001]",
    "TRIO_RELAY_POLICY__DENIED_WORDS": '["airdrop", "casino", "guaranteed returns"]',
    "TRIO_RELAY_POLICY__DENIED_PUBKEYS": str([sha256(f"{n}".encode()).hexdigest() for n in range(_DENIED_PUBKEYS)]),
    "TRIO_RELAY_POLICY__RULES": (
        f"[{{kinds = [1], max_content_length = 100000, max_age = {_LONG_AGO}}},"
        ' {kinds = [30023], required_tags = ["d"]}]'
    ),
    "TRIO_RELAY_SYNC__ENABLED": "true",
    "TRIO_RELAY_STORE__SEARCH": "true",
}
"""Settings that each cost something with each event, and refuse none of a corpus."""
_NO_OPENSEARCH: Final = "has no OpenSearch behind it"


def _query(shape: str, what: str, count: int, bar: float, strfry: float) -> Scenario:
    plan = _plan("read", shape=shape, count=count, connections=10, stored=_STORED)
    return Scenario(shape, f"REQ for {what}, 20,000 stored", plan, (Bar("cpu", bar, strfry=strfry),))


def _query_at_a_million(shape: str, what: str, count: int, bar: float, _: float) -> Scenario:
    plan = _plan("read", shape=shape, count=count, connections=10, filled=_MILLION)
    return Scenario(f"{shape}-1m", f"REQ for {what}, 1,000,000 stored", plan, (Bar("cpu", bar * _AT_A_MILLION),))


def _count_at_a_million(name: str, shape: str, what: str, count: int) -> Scenario:
    plan = _plan("count", shape=shape, count=count, connections=10, filled=_MILLION)
    return Scenario(f"{name}-1m", f"COUNT {what}, 1,000,000 stored", plan)


def _sync_at_a_million(load: str, what: str, count: int) -> Scenario:
    plan = _plan(load, count=count, filled=_MILLION, differing=1_000)
    return Scenario(
        f"{load}-1m", f"a sync of 1,000,000 stored with a set that lacks 500 and has 500 more, {what}", plan
    )


def _search(shape: str, what: str, count: int) -> Scenario:
    plan = _plan("read", shape=shape, count=count, connections=10, stored=_STORED)
    return Scenario(shape, f"REQ for {what}, 20,000 stored", plan, alone="may know no search")


def _on_opensearch(shape: str, what: str, count: int) -> Scenario:
    plan = _plan("read", shape=shape, count=count, connections=10, stored=_STORED)
    title = f"REQ for {what}, 20,000 stored in OpenSearch"
    return Scenario(f"os-{shape}", title, plan, alone=_NO_OPENSEARCH, is_on_opensearch=True)


_ALL: Final = (
    Scenario(
        "ingest",
        "20,000 new events, 10 connections, 200 unanswered on each",
        _INGEST,
        (Bar("cpu", 2.5, strfry=4.0), Bar("cores", 1.7, "cores", is_least=True)),
    ),
    Scenario(
        "ingest-plain",
        "ingest without search",
        _INGEST,
        (Bar("cpu", 2.1, strfry=4.0),),
        settings={"TRIO_RELAY_STORE__SEARCH": "false"},
        alone="does the same in ingest",
    ),
    Scenario(
        "ingest-policy",
        "ingest with all that can be asked of events while anybody may write",
        _INGEST,
        (Bar("cpu", 2.5),),
        settings=_STRICT,
        alone="does the same in ingest",
    ),
    Scenario(
        "import",
        "100,000 new events by `trio-relay import`, and the same into the pipeline from memory",
        _plan("import", corpus=100_000, count=100_000),
        (Bar("rate", 0.9, "x", other="pipeline", is_least=True),),
        alone="has a command of its own",
    ),
    Scenario(
        "single",
        "one new event at a time, 1 connection",
        _plan("publish", first=20_000, count=2_000),
        (Bar("p50 OK", 2.9, "V+F", strfry=4.2), Bar("cpu", 13, strfry=19)),
    ),
    Scenario(
        "single-known",
        "one known event at a time, 1 connection",
        _plan("publish", count=5_000, stored=_STORED),
        (Bar("p50 OK", 6, strfry=7), Bar("cpu", 6, strfry=6.2)),
    ),
    Scenario(
        "known",
        "100,000 known events, 10 connections, 200 unanswered on each",
        _plan("publish", count=20_000, laps=5, connections=10, window=200, stored=_STORED),
        (Bar("cpu", 1, strfry=3.9),),
    ),
    *(_query(*query) for query in _QUERIES),
    *(_search(*search) for search in _SEARCHES),
    Scenario(
        "follow",
        "1 publisher with 20 events in flight, 1,000 live subscribers; an operation is a delivery",
        _plan("follow", count=300, window=20, subscribers=1_000),
        (
            Bar("cpu", 0.14, strfry=0.16),
            Bar("p99 live", 4_000, strfry=17_000),
            Bar("messages", 50_000, "/s", is_least=True),
        ),
    ),
    Scenario(
        "idle",
        "5,000 connections opened, with a subscription each",
        _plan("idle", count=5_000),
        (Bar("rss", 16_000, "B", strfry=77_000), Bar("cpu", 10, strfry=8)),
    ),
    Scenario("start", "a start with an empty folder, until it accepts connections", _plan("start", count=5)),
    Scenario(
        "mix",
        "70 % requests and 30 % new events, 10 connections, 500 live subscribers",
        _plan("mix", first=_STORED, count=40_000, connections=10, window=4, subscribers=500, stored=_STORED),
        tuple(Bar(f"p99 {kind}", 1_200) for kind in ("OK", "EOSE", "live")),
        share=0.6,
    ),
    Scenario("half", "new events at half of the ingest rate", _INGEST, (Bar("p99 OK", 10, "ms"),), share=0.5),
    *(_query_at_a_million(*query) for query in _QUERIES),
    Scenario(
        "ingest-1m",
        "ingest with 1,000,000 stored",
        msgspec.structs.replace(_INGEST, filled=_MILLION),
        (Bar("cpu", 1.4, "x", other="ingest"),),
    ),
    *(_count_at_a_million(*count) for count in _COUNTS),
    _sync_at_a_million("sync", "the first one", 1),
    _sync_at_a_million("sync-again", "a further one", 10),
    Scenario(
        "os-ingest",
        "40,000 new events into OpenSearch, 10 connections, 200 unanswered on each; and a bare loop of bulks",
        msgspec.structs.replace(_INGEST, count=40_000),
        (Bar("rate", 0.8, "x", other="bare loop", is_least=True),),
        alone=_NO_OPENSEARCH,
        is_on_opensearch=True,
    ),
    *(_on_opensearch(shape, what, count) for shape, what, count in _ASKED_OF_OPENSEARCH),
)
SCENARIOS: Final = {scenario.name: scenario for scenario in _ALL}
