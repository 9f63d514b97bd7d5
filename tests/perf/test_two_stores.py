"""A sync of two filled stores, measured: that both end with what differs, on a tiny pair."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from docs.generate import ROOT
from tests.support.program import PATIENCE, environment

pytestmark = pytest.mark.slow


async def test_what_differs_is_brought_over_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "perf.two_stores", "300", "20"]
    settings = {**environment(), "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    with trio.fail_after(2 * PATIENCE):
        told = (await trio.run_process(command, capture_stdout=True, cwd=ROOT, env=settings)).stdout.decode()
    first, again = told.split("first: exit 0, ")
    assert "\ndown: 10 stored\nup: 10 stored\n1 spans of time, " in first
    assert "\ndown: nothing\nup: nothing\n" in again
    assert "\nagain: exit 0, " in again
