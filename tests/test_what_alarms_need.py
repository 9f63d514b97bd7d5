"""What the page of metrics tells for alarms alone: the loop's lag, open files, clock, free room, and bounds."""

from __future__ import annotations

import os
import resource
import shutil
import threading
import time
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from trio_relay import configured, loop_lag, process
from trio_relay.config import check
from trio_relay.metrics import OperationCollector
from trio_relay.pipeline import statistics
from trio_relay.store import sqlite


def over(seen: statistics.Distribution, seconds: float) -> int:
    """How many were later than this, which is one of the bounds."""
    return sum(seen.counts[seen.bounds.index(seconds) + 1 :])


async def test_what_holds_up_the_loop_is_seen_as_lag(mock_clock: MockClock) -> None:
    lag = loop_lag.LoopLag()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lag.measure)
        for seconds in (0.25, 0.25, 0.25 + 3, 0.25):
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    seen = lag.statistics()
    assert (seen.count, over(seen, 2.5), over(seen, 0.0005)) == (4, 1, 1)
    assert seen.total == pytest.approx(3)


def test_open_files_are_counted_and_compared_with_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    before = process.open_files()
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
    try:
        assert process.open_files() >= before + 20
    finally:
        for file in files:
            os.close(file)
    assert process.open_files() < before + 20
    assert process.open_files_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert process.open_files_limit() == float("inf")


def test_where_the_system_tells_no_number_of_files_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "OPEN_FILES", "/proc/self/task")  # a folder of the same kind, whose size is 0
    assert process.open_files() >= threading.active_count()
    monkeypatch.setattr(process, "OPEN_FILES", "/nowhere")
    assert process.open_files() == 0


def test_a_process_knows_when_it_began() -> None:
    assert time.time() - 86_400 < process.STARTED < time.time()


async def test_a_store_tells_the_room_on_its_disk(tmp_path: Path) -> None:
    config = check({"store": {"path": str(tmp_path / "relay.db")}})
    async with sqlite.open_sqlite(config.store) as store:
        free = store.statistics().free_bytes
        assert free is not None
        assert abs(free - shutil.disk_usage(tmp_path).free) < 2**30, "others write meanwhile"


def test_health_and_bounds_are_asked_for_with_each_page() -> None:
    reasons, settings = ["mirror is away"], {"net.max_connections": 10.0}
    collector = OperationCollector(lambda: reasons[0] if reasons else None, lambda: settings)

    def numbers() -> dict[tuple[str, ...], float]:
        return {(one.name, *one.labels.values()): one.value for family in collector.collect() for one in family.samples}

    bound = ("trio_relay_setting", "net.max_connections")
    assert numbers() == {("trio_relay_degraded",): 1, bound: 10}
    reasons.clear()
    settings["net.max_connections"] = 20
    assert numbers() == {("trio_relay_degraded",): 0, bound: 20}


def test_the_bounds_are_those_of_the_configuration() -> None:
    bounds = configured.bounds_of(check({"net": {"max_connections": 77}, "backup": {"every_seconds": 60}}))
    assert (bounds["net.max_connections"], bounds["backup.every_seconds"]) == (77, 60)
    assert bounds["memory.total_bytes"] == 2**30
