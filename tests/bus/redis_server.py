"""A redis-server of a test's own, on a Unix socket in a temporary folder: it may be killed, stopped and emptied."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from perf.servers import free_port
from trio_relay.bus import BusOptions, StreamBus, open_redis_bus

_PATIENCE: Final = 20.0
"""Seconds until it must answer."""
_BETWEEN_LOOKS: Final = 0.01


def is_here() -> bool:
    """True if there is a redis-server."""
    return shutil.which("redis-server") is not None


class RedisServer:
    """One redis-server, which keeps nothing on disk unless it is told to.

    Args:
        folder: for what it writes.
        arguments: more of its command line.
        option: which of its options gets a free port of 127.0.0.1; none listens there unless one is named.
    """

    def __init__(self, folder: Path, *arguments: str, option: str = "") -> None:
        # The path of a socket has 107 bytes at most, and those of pytest's folders may be longer.
        self._socket_folder = tempfile.TemporaryDirectory(prefix="redis-")
        self.socket = Path(self._socket_folder.name) / "socket"
        self.port = free_port() if option else 0
        self._command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--dir", str(folder)]
        self._command += ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", *arguments]
        self._command += [option, str(self.port)] if option else []
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is, for the setting."""
        return f"unix://{self.socket}"

    def join(self, **settings: Any) -> StreamBus:
        """Return one more member of the bus on it."""
        return open_redis_bus(BusOptions(url=self.url, **settings), "test")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            try:
                if self.ask("PING") == b"+PONG\r\n":
                    return
            except OSError:
                pass
            time.sleep(_BETWEEN_LOOKS)
        raise AssertionError("redis-server does not answer")

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._socket_folder.cleanup()

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Stop it as it is; what it is sent waits in the kernel."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Kill it, and start it anew."""
        self.kill()
        self.start()

    def stall(self, seconds: float) -> None:
        """Stop it for so long; waits."""
        self.pause()
        time.sleep(seconds)
        self.resume()

    def ask(self, *words: str) -> bytes:
        """Send a command over a connection of its own, and return the beginning of the answer as it comes."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE)
            connection.connect(str(self.socket))
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(65_536)


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[RedisServer]:
    """A redis-server that answers, while the context lasts; without the program the test is skipped.

    Args:
        folder: for what it writes.
        arguments: more of its command line.
    """
    if not is_here():
        pytest.skip("redis-server is not on PATH")
    with closing(RedisServer(folder, *arguments)) as server:
        server.start()
        yield server
