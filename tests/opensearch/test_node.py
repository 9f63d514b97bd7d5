"""The node of OpenSearch: it outlives no one who started it, and comes back where it was."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from perf.node import OLD, Node, find_jdk, installing, missing, running
from perf.plan import Failed
from tests.support.node import need

PATIENCE = 60
"""Seconds that something real may take."""
HOLDER = """
import sys, time
from pathlib import Path
from perf.node import OLD, running
with running(OLD, Path(sys.argv[1])) as node:
    print(node.pid, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def running_node(tmp_path: Path) -> Iterator[Node]:
    """One of the test's own."""
    need(OLD)
    with running(OLD, tmp_path) as node:
        yield node


@pytest.mark.opensearch
@pytest.mark.slow
def test_a_node_that_was_killed_comes_back_with_its_address_and_its_documents(running_node: Node) -> None:
    url, pid = running_node.url, running_node.pid
    assert httpx.put(f"{url}/some/_doc/1", json={"a": 1}).status_code == 201
    running_node.kill()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    running_node.start()
    assert running_node.url == url
    assert running_node.pid != pid
    assert httpx.get(f"{url}/some/_source/1").json() == {"a": 1}
    running_node.pause()
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(url, timeout=0.2)
    running_node.resume()
    assert httpx.get(url, timeout=PATIENCE).json()["version"]["number"] == OLD
    running_node.stop()
    running_node.stop()  # it may have been stopped
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


@pytest.mark.opensearch
@pytest.mark.slow
def test_a_node_ends_with_who_started_it(tmp_path: Path) -> None:
    need(OLD)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            pid = int(holder.stdout.readline())
            # A descriptor of the process, since it is no child of ours and its id may be used again.
            with open(f"/proc/{pid}/cmdline", "rb") as arguments:
                assert str(tmp_path).encode() in arguments.read()
            process = os.pidfd_open(pid)
        finally:
            holder.kill()
    assert select.select([process], [], [], PATIENCE)[0] == [process]


@pytest.mark.opensearch
@pytest.mark.slow
def test_the_reason_why_a_node_does_not_start_is_told(tmp_path: Path) -> None:
    need(OLD)
    with (
        pytest.raises(Failed, match=r"doesn't start.*no\.such\.setting"),
        running(OLD, tmp_path, settings={"no.such.setting": "1"}),
    ):
        pass


@pytest.mark.opensearch
@pytest.mark.slow
def test_one_that_is_started_by_hand_is_stopped_by_hand(tmp_path: Path) -> None:
    need(OLD)
    url = by_hand("start", tmp_path, "--port", "0").stdout.strip()
    try:
        assert httpx.get(url).json()["version"]["number"] == OLD
        assert by_hand("start", tmp_path).stderr.endswith(f" has {tmp_path}\n")
    finally:
        assert by_hand("stop", tmp_path).returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    assert by_hand("stop", tmp_path).stderr == f"nothing runs in {tmp_path}\n"


def by_hand(command: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What `python -m perf.node` says."""
    program = [sys.executable, "-m", "perf.node", command, "--folder", str(folder), *options]
    return subprocess.run(program, capture_output=True, text=True, timeout=2 * PATIENCE)


def test_a_machine_without_java_is_told_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _no_java(tmp_path, monkeypatch)
    assert find_jdk("3.8.0") is None
    assert missing("3.8.0") == "OpenSearch 3.8.0 needs a JDK of version 21 or newer"
    with pytest.raises(Failed, match="needs a JDK of version 11"):
        installing.prepare("2.19.1")


def test_a_machine_without_maven_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _no_java(tmp_path, monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JAVA_HOME", str(_jdk(tmp_path / "jdk", "11.0.2")))
    assert missing("2.19.1") == "Maven (mvn), which fetches OpenSearch 2.19.1, is not installed"


@pytest.mark.parametrize(
    ("version", "chosen"), [("2.19.1", "a"), ("3.8.0", "c")], ids=["the first that is enough", "a newer one"]
)
def test_a_jdk_is_found_where_systems_put_it(
    version: str, chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _no_java(tmp_path, monkeypatch)
    for name, java in (("a", "17.0.15"), ("b", "1.8.0_452"), ("c", "25")):
        _jdk(tmp_path / "jvm" / name, java)
    (tmp_path / "jvm" / "0-not-whole" / "bin").mkdir(parents=True)
    _jdk(tmp_path / "jvm" / "0-unnamed", "").joinpath("release").unlink()
    assert find_jdk(version) == tmp_path / "jvm" / chosen


def _no_java(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(installing, "_JVMS", folder / "jvm")


def _jdk(home: Path, version: str) -> Path:
    (home / "bin").mkdir(parents=True)
    for program in ("java", "javac"):
        (home / "bin" / program).touch()
    (home / "release").write_text(f'IMPLEMENTOR="Somebody"\nJAVA_VERSION="{version}"\n')
    return home
