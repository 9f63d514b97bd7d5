"""The relay and its peers as processes: a command with a port and a folder in it, its CPU and its memory."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from perf.plan import Failed

_PATIENCE: Final = 30.0
"""Seconds until a server must accept connections, and within which it must stop."""
_BETWEEN_LOOKS: Final = 0.005
_DYING: Final = 1.0
PEERS: Final = Path(__file__).with_name("peers.toml")


@dataclass(frozen=True, slots=True)
class Command:
    """How a server is started; `{port}` and `{folder}` in the command and the files are filled in.

    Attributes:
        name: in the tables.
        command: as in a shell, without one.
        files: by name, written into the folder first.
        environment: added to ours.
        version: a command that prints it.
        ready: what it has said once all of it serves; empty: it does once it accepts a connection.
        browsers: that have its console open meanwhile.
        reads_ours: it can read a store that the relay of this checkout has filled.
    """

    name: str
    command: str
    files: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    version: str = ""
    ready: str = ""
    browsers: int = 0
    reads_ours: bool = False

    @property
    def is_here(self) -> bool:
        """True if the program can be found."""
        return shutil.which(shlex.split(self.command)[0]) is not None


def relay_of(
    python: str, name: str, path: str | None = "", workers: int = 1, browsers: int = 0, *, forgets: bool = False
) -> Command:
    """The relay that an environment has.

    Args:
        python: of the environment, of this checkout or another one.
        name: in the tables.
        path: where modules are looked for first (PYTHONPATH); None: where they are for this process.
        workers: processes that serve.
        browsers: that have its console open meanwhile.
        forgets: it makes one round of retention after the other: of an author's reactions only the newest stays.
    """
    program = f"{shlex.quote(python)} -P -m trio_relay"  # -P: not the one that the current folder happens to hold
    return Command(
        name,
        program,
        version=f"{program} --version",
        environment={
            "TRIO_RELAY_NET__LISTEN": '["127.0.0.1:{port}"]',
            "TRIO_RELAY_METRICS__LISTEN": "",
            "TRIO_RELAY_STORE__PATH": "{folder}/relay.db",
            **({} if workers == 1 else {"TRIO_RELAY_PIPELINE__WORKERS": str(workers)}),
            **({} if path is None else {"PYTHONPATH": path}),
            **({"TRIO_RELAY_WEB__ADMIN": "true"} if browsers else {}),
            **(_FORGETTING if forgets else {}),
        },
        ready="listening on",
        browsers=browsers,
        reads_ours=path is None,
    )


_FORGETTING: Final = {
    "TRIO_RELAY_RETENTION": "[{kinds = [7], max_per_key = 1}, {kinds = [1], authors = 'others', max_per_key = 100000}]",
    "TRIO_RELAY_STORE__RETENTION_SECONDS": "1",
}
OURS: Final = relay_of(sys.executable, "trio-relay", path=None)
INTERPRETED: Final = relay_of(sys.executable, "interpreted")


def peers(path: Path = PEERS) -> list[Command]:
    """The peers that a TOML file describes, a table each."""
    return [Command(name, **table) for name, table in tomllib.loads(path.read_text()).items()]


@dataclass(frozen=True, slots=True)
class Server:
    """One that runs; all processes of its session count."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path

    def reason(self, failure: str) -> str:
        """Why something failed, in a line: that the server has ended is said first."""
        try:
            code = self.process.wait(_DYING)  # its connections end a moment before it does
        except subprocess.TimeoutExpired:
            return failure
        return f"the server has ended with code {code} ({_last_line(self.folder / 'log')}): {failure}"

    def cpu(self) -> float:
        """Seconds of CPU used so far, by the system's accounting; processes that have ended count with their parent."""
        return cpu_of_session(self.process.pid)

    def rss(self) -> int:
        """Bytes of memory that are resident now."""
        return rss_of_session(self.process.pid)


def rss_of_session(leader: int) -> int:
    """Bytes of memory that are resident now in all processes of a session."""
    page = os.sysconf("SC_PAGE_SIZE")
    return sum(int(stat[21]) * page for stat in _stats(leader))


def pids_of_session(leader: int) -> list[int]:
    """All processes of a session that have not ended, its leader's first."""
    found = [pid for pid, stat in _processes(leader) if stat[0] != "Z"]
    return sorted(found, key=lambda pid: (pid != leader, pid))


def children_of(parents: Sequence[int]) -> list[int]:
    """Processes that these have started, and that have not ended."""
    stats = _every_process()
    return sorted(pid for pid, stat in stats if int(stat[1]) in parents and stat[0] != "Z")


def cpu_of_session(leader: int) -> float:
    """Seconds of CPU that all processes of a session have used so far, by the system's accounting."""
    tick = os.sysconf("SC_CLK_TCK")
    return sum(sum(map(int, stat[11:15])) for stat in _stats(leader)) / tick


def _stats(session: int) -> Iterator[list[str]]:
    return (stat for _, stat in _processes(session))


def _processes(session: int) -> Iterator[tuple[int, list[str]]]:
    return ((pid, stat) for pid, stat in _every_process() if int(stat[3]) == session)


def _every_process() -> Iterator[tuple[int, list[str]]]:
    """All that there are, and of each its /proc/…/stat from the third field on."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield int(path.parent.name), path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue


@contextmanager
def running(command: Command, filled: Path | None = None, folder: Path | None = None) -> Iterator[Server]:
    """The server on a free port with a folder of its own, once it accepts connections; ended with the context.

    Args:
        command: which one.
        filled: a folder whose files it finds in its own.
        folder: an empty one for it that outlasts it; by default a temporary one.

    Raises:
        Failed: it doesn't start.
    """
    with tempfile.TemporaryDirectory(prefix="perf-") if folder is None else nullcontext(str(folder)) as name:
        folder = Path(name)
        if filled is not None:
            shutil.copytree(filled, folder, copy_function=_copy, dirs_exist_ok=True)
        port = free_port()

        for file, text in filled_in(command.files, port, name).items():
            (folder / file).write_text(text)
        environment = os.environ | filled_in(command.environment, port, name)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                shlex.split(filled_in({"": command.command}, port, name)[""]),
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                _wait_for(process, port, folder / "log", command.ready)
                yield Server(process, port, folder)
            finally:
                _end(process)


def filled_in(texts: Mapping[str, str], port: int, folder: str) -> dict[str, str]:
    """The same texts, with the port and the folder where they say so."""
    return {key: text.replace("{port}", str(port)).replace("{folder}", folder) for key, text in texts.items()}


def _copy(source: str, target: str) -> None:
    """All on disk when it returns: the system must not be busy with it while something is measured."""
    shutil.copyfile(source, target)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def free_port() -> int:
    """A port that nobody listens on now."""
    [port] = free_ports(1)
    return port


def free_ports(number: int) -> list[int]:
    """As many different ones."""
    with ExitStack() as open_:
        probes = [open_.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)]
        return [probe.getsockname()[1] for probe in probes]


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path, ready: str) -> None:
    end = time.monotonic() + _PATIENCE
    while process.poll() is None and time.monotonic() < end:
        if ready in log.read_text(errors="replace"):  # before the first connection: each would cost it something
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
        time.sleep(_BETWEEN_LOOKS)
    raise Failed(f"it doesn't start: {_last_line(log)}")


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE)
    with suppress(ProcessLookupError):  # it usually takes its whole group with it
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
