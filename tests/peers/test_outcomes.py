"""What is told of a sync while it goes on."""

from __future__ import annotations

from trio_relay.peers import outcomes

CLOCK = len(" 12:34:56")


def test_how_far_a_large_sync_is_has_room_beside_a_clock_on_a_terminal_of_80_columns() -> None:
    report = outcomes.SyncReport(windows=100, rounds=54_321, received_bytes=12_345 * 10**6, sent_bytes=10**9)
    report.down.note(outcomes.Fate.STORED, number=1_559_100)
    report.up.note(outcomes.Fate.KNOWN, number=1_012_345)
    said = report.progress(1_000.0)
    assert said == "1,559,100 down, 1,012,345 up, 2,571/s, 13,345 MB, 54,321 rounds"
    assert len(said) + CLOCK <= 80


def test_a_sync_without_nip_77_has_pages() -> None:
    assert outcomes.SyncReport(pages=7).progress(0.0) == "0 down, 0 up, 0/s, 0 MB, 7 pages"
