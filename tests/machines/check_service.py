"""docs/installing.md, "As a service", typed on a Debian 13 that systemd runs, and what the units promise."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from tests.building.test_distributions import release
from tests.machines.debian import changing, contained, debian, do, finish, first_process, inside
from tests.support.keys import ALICE
from tests.support.page_blocks import shell_blocks

PROGRAM, FILES, START, MENDED, REMOVAL = shell_blocks("docs/installing.md", "As a service")
CONFIG = "/etc/trio-relay/relay.toml"
SPEAK = """
import json, sys
from websockets.sync.client import connect
with connect("ws://127.0.0.1:7777", open_timeout=60) as relay:
    for said in sys.argv[1:]:
        relay.send(said)
        print(relay.recv(timeout=20))
"""
COME_AND_GO = """
import sys, time
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
longest, count = 0.0, 0
print("begun", flush=True)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    begun = time.monotonic()
    with connect("ws://127.0.0.1:7777", open_timeout=60) as relay:
        try:
            relay.send('["REQ","all",{"limit":0}]')
            relay.recv(timeout=60)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None and closed.rcvd.code == 1012, closed  # it was told to come again
    longest, count = max(longest, time.monotonic() - begun), count + 1
print(count, longest)
"""
"""Clients that come one after another; it fails if one of them is refused."""
CONNECT = """python3 -c 'import socket; socket.create_connection(("127.0.0.1", 7777))'"""
UNTIL_REFUSED = f"for attempt in $(seq 600); do {CONNECT} 2>/dev/null || exit 0; sleep 0.1; done; exit 1"
ASK = """/opt/trio-relay/bin/python - <<'PYTHON'
from urllib.request import Request, urlopen
print(urlopen(Request("http://127.0.0.1:7777", headers={"Accept": "application/nostr+json"})).read().decode())
PYTHON"""


@dataclass
class Machine:
    """One that systemd runs, from its first process on."""

    process: subprocess.Popen[bytes]

    def command(self, *command: str) -> list[str]:
        """What runs a command there, as root."""
        return inside(first_process(self.process.pid), *command)

    def do(self, script: str) -> str:
        """What a script there says; fails if it does."""
        return finish(self.command("/bin/sh", "-ec", script), minutes=5).strip()

    def speak(self, *messages: list[Any]) -> list[Any]:
        """The next message of the relay after each of these, to a client on that machine."""
        texts = [msgspec.json.encode(message).decode() for message in messages]
        command = self.command("/opt/trio-relay/bin/python", "-c", SPEAK, *texts)
        return [json.loads(line) for line in finish(command, minutes=2).splitlines()]

    def shown(self, name: str) -> str:
        """A property of the service, as systemd has it."""
        return self.do(f"systemctl show --value --property={name} trio-relay.service")

    def configure(self, text: str) -> None:
        """Write the relay's file anew, with this at its end."""
        [block] = [part for part in FILES.split("<<'TOML'\n") if part.startswith("[relay]")]
        self.do(f"cat > {CONFIG} <<'TOML'\n{block.partition('TOML')[0]}{text}\nTOML")


def until_it_runs(machine: subprocess.Popen[bytes]) -> None:
    """Wait until systemd there has started everything."""
    patience = time.monotonic() + 60
    while True:
        try:
            finish(inside(first_process(machine.pid), "systemctl", "is-system-running", "--wait"), minutes=1)
        except (AssertionError, ValueError):
            assert time.monotonic() < patience
            time.sleep(0.2)
        else:
            return


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Debian with the relay compiled by the compiler that the page names, and the files of the page."""
    folder = tmp_path_factory.mktemp("service")
    sources, _ = release(folder / "release")
    root = folder / "root"
    with changing(root, folder / "changes", debian()):
        do(root, "apt-get update -q && apt-get install -qy --no-install-recommends gcc python3-dev")
        (root / "source.tar.gz").write_bytes(sources.read_bytes())
        do(root, PROGRAM.replace("install trio-relay\n", "install /source.tar.gz\n"))
        do(root, FILES)
        flags = ["--boot", "--private-network", "--console=passive"]
        with subprocess.Popen(contained(root, *flags), stdout=subprocess.DEVNULL) as process:
            try:
                until_it_runs(process)
                yield Machine(process)
            finally:
                process.terminate()
                process.wait(60)


@pytest.fixture
def relay(machine: Machine) -> Iterator[Machine]:
    """The same with the service as it was after its first run."""
    machine.configure("")
    machine.do(START)
    machine.do("systemctl reset-failed trio-relay.service trio-relay.socket; systemctl restart trio-relay")
    yield machine
    print(machine.do("journalctl --unit=trio-relay.service --no-pager --lines=60"))  # shown where a test fails
    machine.do("rm -rf /etc/systemd/system/trio-relay.service.d; systemctl daemon-reload")


def test_the_page_leads_to_a_relay_that_serves_and_is_shut(relay: Machine) -> None:
    event = ALICE.event("to a service")
    accepted, found = relay.speak(["EVENT", event], ["REQ", "all", {}])
    assert accepted == ["OK", event.id, True, ""]
    assert found[2]["id"] == event.id
    assert relay.shown("ActiveState") == "active"
    code = "interpreted" if os.environ.get("TRIO_RELAY_COMPILE") == "0" else "compiled"
    assert relay.do("trio-relay --version").endswith(f"({code})")
    status = relay.do(f"cat /proc/{relay.shown('MainPID')}/status")
    assert "CapBnd:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
    assert relay.do("stat --format='%U %a' /var/lib/trio-relay/relay.db") == "trio-relay 600"
    assert "1" in relay.do(f"trio-relay stats --config {CONFIG}")
    assert "1" in relay.do(f"cd / && runuser -u trio-relay -- trio-relay stats --config {CONFIG}")


def test_who_comes_while_it_restarts_waits_and_is_served(relay: Machine) -> None:
    command = relay.command("/opt/trio-relay/bin/python", "-c", COME_AND_GO, "20")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as coming:
        assert coming.stdout is not None
        assert coming.stdout.readline() == "begun\n"
        for _ in range(3):
            relay.do("systemctl restart trio-relay")
        told = coming.stdout.read()
        assert coming.wait(60) == 0, told
    count, longest = told.split()
    print(f"\nof {count} clients the longest waited {float(longest):.2f} s while the relay restarted three times")
    assert int(count) > 3


def test_a_reload_takes_a_file_that_is_right_and_refuses_one_that_is_wrong(relay: Machine) -> None:
    before = relay.shown("MainPID")
    relay.configure("[limits]\nmax_subscriptions = 7")
    relay.do("systemctl reload trio-relay")
    assert '"max_subscriptions":7' in relay.do(ASK)
    relay.configure("[limits]\nmax_subscriptions = 'seven'")
    with pytest.raises(AssertionError):
        relay.do("systemctl reload trio-relay")
    assert '"max_subscriptions":7' in relay.do(ASK)
    assert relay.shown("ActiveState") == "active"
    assert relay.shown("MainPID") == before


@pytest.mark.parametrize("how", ["KILL", "STOP"])
def test_one_that_is_killed_or_stands_still_is_started_again(relay: Machine, how: str) -> None:
    event = ALICE.event(f"before {how}")
    assert relay.speak(["EVENT", event])[0][2]
    relay.do("mkdir -p /etc/systemd/system/trio-relay.service.d")
    relay.do("printf '[Service]\\nWatchdogSec=3\\n' > /etc/systemd/system/trio-relay.service.d/test.conf")
    relay.do("systemctl daemon-reload; systemctl restart trio-relay")
    before = relay.shown("MainPID")
    relay.do(f"kill -{how} {before}")
    [found] = relay.speak(["REQ", "all", {"ids": [event.id]}])
    assert found[2]["id"] == event.id
    assert relay.shown("MainPID") != before
    assert relay.shown("NRestarts") == "1"


def test_one_whose_configuration_is_wrong_is_not_started_again(relay: Machine) -> None:
    relay.configure("[limits]\nmax_subscriptions = 'seven'")
    with pytest.raises(AssertionError):
        relay.do("systemctl restart trio-relay")
    assert relay.shown("ExecMainStatus") == "2"
    assert relay.shown("NRestarts") == "0"
    # Who connects has it tried again, until systemd has had enough, and closes the address.
    relay.do(UNTIL_REFUSED)
    assert relay.do("systemctl is-active trio-relay.socket || true") == "failed"
    relay.configure("")
    relay.do(MENDED)
    assert relay.shown("ActiveState") == "active"


def test_workers_a_plugin_and_a_backup_live_in_it(relay: Machine) -> None:
    relay.do(r"""cat > /opt/judge.py <<'PYTHON'
import json, sys
for line in sys.stdin:
    event = json.loads(line)["event"]
    action = "reject" if "no" in event["content"] else "accept"
    print(json.dumps({"id": event["id"], "action": action, "msg": "blocked: no"}), flush=True)
PYTHON""")
    relay.configure("[pipeline]\nworkers = 2\n[plugins]\nwrite = '/usr/bin/python3 /opt/judge.py'")
    relay.do("systemctl restart trio-relay")
    good, bad = ALICE.event("yes, with workers"), ALICE.event("no")
    taken, refused = relay.speak(["EVENT", good], ["EVENT", bad])
    assert taken == ["OK", good.id, True, ""]
    assert refused == ["OK", bad.id, False, "blocked: no"]
    relay.do(f"trio-relay call --config {CONFIG} backupnow")
    assert relay.do("ls /var/lib/trio-relay/backups").endswith(".backup")


def test_the_removal_leaves_the_data_alone(relay: Machine) -> None:
    relay.do(REMOVAL)
    assert relay.do("systemctl list-unit-files 'trio-relay*' --no-legend --no-pager || true") == ""
    assert "relay.db" in relay.do("ls /var/lib/trio-relay")
    assert relay.do("ls /opt /etc/systemd/system").count("trio-relay") == 0
    with pytest.raises(AssertionError, match="refused"):
        relay.do("python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 7777))'")
