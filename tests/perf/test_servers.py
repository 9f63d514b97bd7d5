"""Servers as processes: what they cost, how they end, and what is said when they don't start."""

from __future__ import annotations

import os
import select
import shlex
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from perf.measuring import load
from perf.plan import Failed, Plan
from perf.servers import (
    OURS,
    Command,
    children_of,
    filled_in,
    peers,
    pids_of_session,
    relay_of,
    rss_of_session,
    running,
)
from trio_relay.config import load as load_config

pytestmark = pytest.mark.slow

PATIENCE = 30
"""Seconds that something real may take; it takes a fraction of one where nothing is wrong."""
BURNT = 0.2
UNTOLD = 2 / os.sysconf("SC_CLK_TCK")
"""Seconds that the system does not tell of a process: its own time and the kernel's are each told in whole ticks."""
HELD = 50_000_000


def python(name: str, program: str, *arguments: str) -> Command:
    """A server that is some lines of Python."""
    return Command(name, shlex.join([sys.executable, "-c", program, "{port}", "{folder}", *arguments]))


CHILD = f"""
import signal, sys, time
fifo = open(sys.argv[1], "w")
held = bytearray({HELD})
while time.process_time() < {BURNT + UNTOLD}: pass
print("ready", flush=True)
signal.pause()
"""
PARENT = f"""
import signal, socket, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}, sys.argv[3]], stdout=subprocess.PIPE)
child.stdout.readline()
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""
HANGS_UP = """
import socket, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
listener.accept()[0].close()
print("out of luck")
listener.accept()[0].close()
sys.exit(7)
"""
TELLS = """
import os, pathlib, signal, socket, sys
pathlib.Path(sys.argv[2], "told").write_text(os.environ["TOLD"] + pathlib.Path(sys.argv[2], "file").read_text())
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
signal.pause()
"""


def test_all_processes_of_a_server_count_and_end_with_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with running(python("family", PARENT, str(fifo))) as server:
        assert server.cpu() >= BURNT
        assert server.rss() >= HELD
    # Its only writer was the child: without it there is an end.
    assert select.select([reader], [], [], PATIENCE)[0]
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_server_that_does_not_start_is_told_with_its_last_words() -> None:
    with pytest.raises(Failed, match="doesn't start: no room here"), running(python("", "print('no room here')")):
        raise AssertionError("it runs")


def test_a_server_that_dies_is_told_with_its_code_and_its_last_words() -> None:
    expected = pytest.raises(Failed, match=r"^the server has ended with code 7 \(out of luck\): ")
    with running(python("mortal", HANGS_UP)) as server, expected:
        load(server, "mortal", Plan(load="publish", corpus=20, port=server.port))


def test_port_and_folder_are_filled_in_everywhere() -> None:
    told = python("", TELLS)
    command = Command("", told.command, {"file": "{port} {folder}"}, {"TOLD": "{port} {folder} "})
    with running(command) as server:
        both = f"{server.port} {server.folder}"
        assert (server.folder / "told").read_text() == f"{both} {both}"


def test_a_server_finds_a_copy_of_what_was_filled_beforehand(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "thing").write_text("as it was")
    listen = "import signal, socket, sys; l = socket.create_server(('127.0.0.1', int(sys.argv[1]))); signal.pause()"
    with running(python("", listen), filled=tmp_path) as server:
        copy = server.folder / "inner" / "thing"
        assert copy.read_text() == "as it was"
        copy.write_text("changed")
    assert (tmp_path / "inner" / "thing").read_text() == "as it was"
    assert not copy.exists()


def test_the_relay_answers_where_it_was_told_to() -> None:
    with running(OURS) as server, closing(socket.create_connection(("127.0.0.1", server.port))) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(8).startswith(b"HTTP/1.")
        assert (server.folder / "relay.db").exists()


def test_the_peers_that_come_along_are_described_well() -> None:
    found = {peer.name: peer for peer in peers()}
    assert {"nostr-rs-relay", "nostr-relay", "strfry"} <= found.keys()
    for peer in found.values():
        everything = " ".join([peer.command, *peer.files.values(), *peer.environment.values()])
        assert "{port}" in everything
        assert "{folder}" in everything


def test_a_peer_is_here_if_its_program_is() -> None:
    assert OURS.is_here
    assert not Command("ghost", "no-such-relay-anywhere --port {port}").is_here


def test_the_processes_of_a_session_are_known_while_they_run() -> None:
    """Its leader's first; a child with a session of its own is a child, and no part of it."""
    script = (
        "import subprocess, sys\n"
        "sleep = [sys.executable, '-c', 'import signal; signal.pause()']\n"
        "children = [subprocess.Popen(sleep), subprocess.Popen(sleep, start_new_session=True)]\n"
        "print(*(child.pid for child in children), flush=True)\n"
        "sys.stdin.read()\n"
        "for child in children: child.kill(); child.wait()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as leader:
        assert leader.stdout is not None
        own, apart = map(int, leader.stdout.readline().split())
        assert pids_of_session(leader.pid) == [leader.pid, own]
        assert children_of([leader.pid]) == sorted([own, apart])
        assert rss_of_session(leader.pid) > 2_000_000
        leader.communicate()
        assert pids_of_session(leader.pid) == pids_of_session(apart) == []


def test_a_relay_that_forgets_has_rules_by_which_something_goes() -> None:
    command = relay_of(sys.executable, "retention", forgets=True)
    said = filled_in(command.environment, 7_777, "/nowhere")
    config = load_config(None, {name: text for name, text in said.items() if name.startswith("TRIO_RELAY_")})
    assert [rule.max_per_key for rule in config.retention] == [1, 100_000]
    assert config.store.retention_seconds == 1
