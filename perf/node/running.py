"""A node as a process: plain HTTP on 127.0.0.1, without users; it ends with whoever started it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from perf.node.installing import SOURCES, find_jdk, prepare
from perf.plan import Failed

_STARTING: Final = 300.0
_STOPPING: Final = 30.0
_POLL: Final = 0.05
_QUICK: Final = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


class Node:
    """One node of OpenSearch, its data in a folder; it can be killed, paused, and started again where it was.

    Args:
        version: of OpenSearch.
        folder: for its data, log and configuration; a node that had it before left its indices there.
        port: of its HTTP; 0 for a free one, which it keeps when it is started again.
        heap: of its JVM, such as "512m".
        settings: of the node, by name, such as {"thread_pool.write.queue_size": "1"}.
        quick: compile less, so that it starts sooner; slower under load, so not for measurements.
        held: it ends when this process does.
    """

    def __init__(
        self,
        version: str,
        folder: Path,
        *,
        port: int = 0,
        heap: str = "512m",
        settings: Mapping[str, str] | None = None,
        quick: bool = True,
        held: bool = True,
    ) -> None:
        self.version = version
        self.folder = folder.resolve()
        self._port = port
        self._heap = heap
        self._settings = dict(settings or {})
        self._quick = quick
        self._held = held
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers, once it has been started; the same after a restart."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Of its process, which must run."""
        assert self._process is not None, "it has been started"
        return self._process.pid

    @property
    def log(self) -> Path:
        """All that it has said, in all its lives."""
        return self.folder / "log"

    def start(self) -> None:
        """Start it, and return when it takes requests and all its indices can be read.

        Raises:
            Failed: it cannot run here, ended at once, or was not ready in time.
        """
        command = self._command()
        (self.folder / "config").mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCES / "log4j2.properties", self.folder / "config")
        ready, failure = self.folder / "url", self.folder / "failure"
        ready.unlink(missing_ok=True)
        failure.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if self._held else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for whoever holds it
            )
        (self.folder / "pid").write_text(str(self.pid))
        end = time.monotonic() + _STARTING
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                reason = failure.read_text() if failure.exists() else f"see {self.log}"
                raise Failed(f"OpenSearch {self.version} doesn't start: {reason}")
            time.sleep(_POLL)
        self._port = int(ready.read_text().rpartition(":")[2])

    def stop(self) -> None:
        """End it in good order; what it holds is on disk."""
        if self._process is None:
            return
        self._process.terminate()
        self.resume()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOPPING)
        self.kill()

    def kill(self) -> None:
        """End it by SIGKILL, as a power cut would, but for what the system has not written to disk."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None
        (self.folder / "pid").unlink(missing_ok=True)

    def pause(self) -> None:
        """Let it do nothing (SIGSTOP): connections stay open, and new ones are accepted by the system."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        os.kill(self.pid, signal.SIGCONT)

    def _command(self) -> list[str]:
        home = prepare(self.version)
        jdk = find_jdk(self.version)
        assert jdk is not None, "prepare has found it"
        options = [f"-Xms{self._heap}", f"-Xmx{self._heap}", "-Djava.awt.headless=true", "-Dfile.encoding=UTF-8"]
        options += ["-Dlog4j.shutdownHookEnabled=false", "-Dlog4j2.disable.jmx=true"]
        if not self.version.startswith("2."):
            options += ["--enable-native-access=ALL-UNNAMED", "--add-modules=jdk.incubator.vector"]
        if self._quick:
            options += _QUICK
        arguments = [str(self.folder), str(self._port), "held" if self._held else "free"]
        settings = [f"{name}={value}" for name, value in self._settings.items()]
        java = str(jdk / "bin" / "java")
        return [java, *options, "-cp", f"{home}/classes:{home}/lib/*", "SingleNode", *arguments, *settings]


@contextmanager
def running(
    version: str,
    folder: Path,
    *,
    port: int = 0,
    heap: str = "512m",
    settings: Mapping[str, str] | None = None,
    quick: bool = True,
) -> Iterator[Node]:
    """A `Node` that has been started; it ends with the context.

    Raises:
        Failed: it cannot run here, ended at once, or was not ready in time.
    """
    node = Node(version, folder, port=port, heap=heap, settings=settings, quick=quick)
    node.start()
    try:
        yield node
    finally:
        node.stop()
