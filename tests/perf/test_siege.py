"""The siege: where its connections come from, and what its outcome is held to."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address

from perf.siege import Besieged, report, source_of

CALM = {"OK": [0.001, 0.003], "EOSE": [0.002, 0.01]}


def outcome(**changes: object) -> Besieged:
    plain: dict[str, object] = {
        "alone": CALM,
        "beside": CALM,
        "unanswered": 0,
        "resident": (60_000_000, 150_000_000, 120_000_000),
        "descriptors": (40, 4_000, 40),
        "told": {"idle": 3},
    }
    return Besieged(**{**plain, **changes})  # type: ignore[arg-type]  # each is what its attribute is


def test_no_address_has_more_connections_than_it_has_ports() -> None:
    sources = Counter(map(source_of, range(10_000)))
    assert max(sources.values()) == 100
    assert all(ip_address(source).is_loopback for source in sources)


def test_all_bars_are_reached_at_their_limits() -> None:
    beside = {"OK": [0.001, 0.02], "EOSE": [0.002, 0.03]}
    assert [one.is_reached for one in outcome(beside=beside).verdicts] == 4 * [True]


def test_none_is_reached_beyond() -> None:
    beside = {"OK": [0.001, 0.021], "EOSE": [0.002, 0.031]}
    left = outcome(beside=beside, resident=(60_000_000, 150_000_000, 120_000_001), descriptors=(40, 4_000, 41))
    assert [one.is_reached for one in left.verdicts] == 4 * [False]


def test_the_report_says_all_of_it() -> None:
    lines = report(outcome()).splitlines()
    assert lines[0] == "RSS before, at most, a minute later: 60 MB, 150 MB, 120 MB"
    assert lines[1] == "descriptors at the same times: 40, 4000, 40"
    assert lines[4] == "hostile connections: idle 3"
    assert len(lines) == 9
