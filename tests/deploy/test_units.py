"""deploy/systemd: units that systemd takes, as closed as they are said to be, and in agreement with the relay."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.units import DEPLOYED, said, verify
from trio_relay.config import Config
from trio_relay.doctor import running

SERVICE = said(DEPLOYED / "trio-relay.service")
SOCKET = said(DEPLOYED / "trio-relay.socket")
PAGE = DEPLOYED.parents[1] / "docs" / "installing.md"
analyzed = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@pytest.mark.slow
@analyzed
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    assert verify(["trio-relay.service", "trio-relay.socket"], DEPLOYED, root=tmp_path) == ""


@pytest.mark.slow
@analyzed
def test_the_service_is_as_closed_as_the_page_says() -> None:
    unit = str(DEPLOYED / "trio-relay.service")
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", unit]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    verdict = re.search(r"^→ Overall exposure level for trio-relay.service: ([\d.]+) (\w+)", told, re.MULTILINE)
    assert verdict is not None, told
    assert f"`systemd-analyze security` says {verdict[1]}, {verdict[2]}" in PAGE.read_text()


def test_the_socket_is_where_a_relay_listens_that_is_told_nothing() -> None:
    assert (SOCKET["ListenStream"],) == Config().net.listen


def test_a_stop_has_time_for_all_that_the_relay_takes_for_it() -> None:
    config = Config()
    assert config.net.grace_seconds + config.pipeline.drain_seconds < int(SERVICE["TimeoutStopSec"])


def test_there_is_a_descriptor_for_each_client() -> None:
    assert Config().net.max_connections < int(SERVICE["LimitNOFILE"])


def test_the_first_process_alone_is_told_to_stop() -> None:
    assert SERVICE["KillMode"] == "mixed"


def test_the_relay_reloads_the_file_that_it_was_started_with() -> None:
    program, *started = SERVICE["ExecStart"].split()
    assert SERVICE["ExecReload"].split() == [program, "reload", *started]


def test_who_has_a_unit_without_a_watchdog_is_told_of_the_one_that_ours_has() -> None:
    assert (
        f"Add WatchdogSec={SERVICE['WatchdogSec']} and Type={SERVICE['Type']} to the unit."
        == running.NO_WATCHDOG.advice
    )
