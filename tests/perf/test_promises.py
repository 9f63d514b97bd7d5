"""The promises of docs/comparison.md: what is measured of a relay that keeps them, and of one that does not."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from docs.generate import ROOT
from perf.corpus import signed_events
from perf.promises import found_after_ok, kills
from perf.servers import OURS, running

pytestmark = pytest.mark.slow

FORGETFUL = replace(OURS, environment={**OURS.environment, "TRIO_RELAY_STORE__BACKEND": "memory"})


def test_a_killed_relay_has_all_that_it_acknowledged() -> None:
    tally = kills(OURS, signed_events(400), 2)
    assert tally.acknowledged > 0
    assert tally.lost == 0


def test_what_a_forgetful_relay_has_lost_is_counted() -> None:
    tally = kills(FORGETFUL, signed_events(400), 1)
    assert tally.lost == tally.acknowledged > 0


def test_an_event_is_found_as_soon_as_its_ok_is_there() -> None:
    with running(OURS) as server:
        found, seconds = found_after_ok(server, signed_events(400)[:20])
    assert (found, len(seconds)) == (20, 20)


@pytest.mark.exhaustive
def test_the_command_measures_each_promise_of_the_page() -> None:
    command = [sys.executable, "-m", "perf", "--scale", "0.02", "promises"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    measured = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", done.stdout, re.MULTILINE)
    page = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8").partition("## Other relays")[0]
    assert "make perf PERF=promises" in page
    assert re.findall(r"^\| ([^|]+) \| .+ \|$", page, re.MULTILINE) == measured
