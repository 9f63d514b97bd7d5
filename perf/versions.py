"""What took part in a measurement: programs, machine, and which state of the relay."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from perf.servers import Command

_LIBRARIES: Final = ("trio", "websockets", "apsw", "coincurve", "msgspec")
_HERE: Final = Path(__file__).parent
_SECONDS: Final = 20


def versions(servers: Sequence[Command], python: str = sys.executable) -> dict[str, str]:
    """By name.

    Args:
        servers: that take part.
        python: of the environment whose relay takes part.
    """
    return {
        **{
            server.name: _say(shlex.split(server.version), environment=server.environment)
            for server in servers
            if server.version
        },
        "commit": _say(["git", "describe", "--always", "--dirty"], _folder(python)),
        "python": platform.python_version(),
        **{library: version(library) for library in _LIBRARIES},
        "platform": platform.platform(),
        "processor": f"{os.cpu_count()} x {_processor()}",
    }


def _folder(python: str) -> Path:
    """Where the relay of an environment is."""
    # -P: else it would be the one in the current folder.
    found = Path(_say([python, "-P", "-c", "import trio_relay; print(trio_relay.__file__)"])).parent
    return found if found.is_absolute() else _HERE


def _say(command: list[str], folder: Path = _HERE, environment: Mapping[str, str] | None = None) -> str:
    """The first line that a command says."""
    try:
        said = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return (said.stdout.strip().splitlines() or ["unknown"])[0]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
