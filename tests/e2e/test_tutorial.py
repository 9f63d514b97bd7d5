"""docs/tutorial.md, typed from its first line to its last, beside a real relay and a real Prometheus.

What needs a machine of one's own has stand-ins: they note that they were called. The paths of the page lie in a folder,
and what a wheel puts beside the program is laid there by the table from which the wheel is made.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from perf.servers import free_ports
from tests.support.keys import ALICE
from tests.support.page_blocks import ROOT, give, shell_blocks, typed
from tests.support.program import MODULE, running
from tests.watching.server import RULES, needs_prometheus, open_prometheus
from trio_relay.config import load
from trio_relay.nostr import nip19

pytestmark = pytest.mark.slow

NOTING: Final = '#!/bin/sh\necho "${0##*/} $*" >> called\n'
STAND_INS: Final = {
    **dict.fromkeys(("apt-get", "useradd", "chown", "systemctl"), NOTING),
    "runuser": '#!/bin/sh\necho "${0##*/} $*" >> called\nshift 3\nexec "$@"\n',
    "trio-relay": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m trio_relay "$@"\n',
}


def machine(folder: Path) -> None:
    """A machine on which some programs only note that they were called, with what it takes to install others."""
    for name, script in STAND_INS.items():
        give(folder, name, script)
    give(folder, "python3", f'{NOTING}mkdir -p "$3/bin" && cp bin/pip "$3/bin"\n')
    share = folder / "opt" / "trio-relay"
    for place, patterns in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "data-files"
    ].items():
        (share / place).mkdir(parents=True)
        for path in (path for pattern in patterns for path in ROOT.glob(pattern)):
            shutil.copy(path, share / place)
    give(folder, "pip", f"{NOTING}ln -sf ../../../bin/trio-relay opt/trio-relay/bin/\n")
    for place in (
        "etc/systemd/system",
        "etc/caddy",
        "etc/default",
        "etc/prometheus",
        "usr/local/bin",
        "var/lib/trio-relay",
    ):
        (folder / place).mkdir(parents=True)


async def type_all(folder: Path, blocks: list[str], settings: Mapping[str, str]) -> bytes:
    """Type blocks of the page, each behind the name and the key that it begins with; gives what they have written."""
    [beginning] = shell_blocks("docs/tutorial.md", "Your relay in ten minutes")
    said = b""
    for block in blocks:
        text = f"{beginning.replace('npub1…', nip19.npub_of(ALICE.pubkey))}\n{block}"
        for place in ("etc", "opt", "usr/local", "var/lib"):
            text = text.replace(f"/{place}/", f"{folder}/{place}/")
        ended = await typed(folder, text, settings)
        assert ended.returncode == 0, (block, ended.stdout, ended.stderr)
        said += ended.stdout
    return said


async def test_the_steps_lead_from_nothing_to_a_relay_with_an_admin_a_backup_and_rules_for_alerts(
    tmp_path: Path,
) -> None:
    machine(tmp_path)
    ports = free_ports(2)
    settings = {"net.listen": f'["127.0.0.1:{ports[0]}"]', "metrics.listen": f"127.0.0.1:{ports[1]}"}
    typing = partial(type_all, tmp_path, settings=settings)
    await typing(shell_blocks("docs/tutorial.md", "1. The program"))
    await typing(shell_blocks("docs/tutorial.md", "2. Five questions"))
    await typing(shell_blocks("docs/tutorial.md", "3. A service"))
    await typing(shell_blocks("docs/tutorial.md", "4. TLS"))
    config = tmp_path / "etc" / "trio-relay" / "relay.toml"
    assert config.stat().st_mode & 0o777 == 0o640
    assert load(config, {}).policy.admins == (ALICE.pubkey,)
    async with running(tmp_path, settings, command=[*MODULE, "--config", str(config)]) as program:
        document = (await program.get("/", Accept="application/nostr+json")).json()
        assert document["name"] == "Our relay"
        assert b"is wrong" in await typing(shell_blocks("docs/tutorial.md", "5. Is all well?"))
        assert b"first.backup is whole: 0 events" in await typing(shell_blocks("docs/tutorial.md", "6. A backup"))
        assert b"/admin/" in await typing(shell_blocks("docs/tutorial.md", "7. The admin"))
    assert load(config, {}).backup.keep == 7
    called = (tmp_path / "called").read_text()
    assert [line for line in called.splitlines() if line.startswith("systemctl")] == [
        "systemctl daemon-reload",
        "systemctl enable --now trio-relay",
        "systemctl --no-pager status trio-relay",
        "systemctl restart caddy",
        "systemctl reload trio-relay",
    ]
    units = {path.name for path in (tmp_path / "etc" / "systemd" / "system").iterdir()}
    assert units == {"trio-relay.service", "trio-relay.socket"}
    assert "\nrelay.example.org {\n" in (tmp_path / "etc" / "caddy" / "Caddyfile").read_text()


@needs_prometheus
async def test_its_rules_lie_where_prometheus_finds_them_and_what_it_is_asked_there_is_found(tmp_path: Path) -> None:
    machine(tmp_path)
    rules, *asking = shell_blocks("docs/tutorial.md", "8. An alert")
    assert b"SUCCESS: 1 rule files found" in await type_all(tmp_path, [rules], {})
    lines = [line for block in asking for line in block.splitlines() if line.startswith("promtool query instant ")]
    up, alerting = (shlex.split(line)[-1] for line in lines)
    [alert] = re.findall(r'ALERTS\{alertname="(\w+)"\}', alerting)
    assert f"alert: {alert}\n" in RULES.read_text(encoding="utf-8")
    async with running(tmp_path) as program:
        [metrics] = re.findall(r"http://(\S+)/metrics", program.out)
        async with open_prometheus(tmp_path, metrics) as prometheus:
            assert len(await prometheus.until_found(up)) == 1
