"""What ingest beside backups is held to, and how the relay's log is read."""

from __future__ import annotations

from pathlib import Path

from perf.backing_up import ALONE, ITSELF, Ingested, report, seconds_told


def lines(rate: float) -> list[str]:
    alone = [Ingested(1_000.0, 5_000_000), Ingested(4_000.0, 9_000_000), Ingested(2_000.0)]
    return list(report({ALONE: alone, ITSELF: [Ingested(rate, 70_000_000, [4.0, 1.0, 2.0])]}, 300_000_000))


def test_medians_are_told_beside_those_of_the_load_alone() -> None:
    assert lines(1_000.0) == [
        "alone: 2,000 events/s, 1.00 of alone, a log of 9 MB at most",
        "beside its own: 1,000 events/s, 0.50 of alone, a log of 70 MB at most; a backup takes 2.0 s, 150 MB of the"
        " store a second",
    ]


def test_less_than_half_is_said() -> None:
    assert lines(999.0)[1].endswith(": LESS than 0.5")


def test_the_log_tells_of_each_backup(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text('trio-relay 1\n{"event":"a backup was made","seconds":2.5}\n{"event":"another","seconds":9}\n')
    assert list(seconds_told(log)) == [2.5]
