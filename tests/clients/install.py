"""Installs the clients under build/clients, each in an environment of its own: `python -m tests.clients.install`.

What a machine cannot have is told and left out; its tests are then skipped with `LACKS` as the reason.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.clients.libraries import BUILT, HERE, LIBRARIES

LACKS: Final = "not installed: `make clients` does it, where node and npm, go, or a wheel for this Python are there"
_NPM: Final = (
    "npm",
    "install",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    "--legacy-peer-deps",
)
_PIP: Final = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet")


def install() -> bool:
    """Install all that is not there yet; whether nothing is missing."""
    BUILT.mkdir(parents=True, exist_ok=True)
    done = [_told(name, *step) for name, step in _steps()]
    return all(done)


def _steps() -> Iterator[tuple[str, tuple[list[str], Path, dict[str, str]]]]:
    """What is to be run, by name: a command, where, and what to add to the environment."""
    scripts = BUILT / "javascript"
    shutil.copytree(HERE / "javascript", scripts, dirs_exist_ok=True)
    shutil.copy(HERE / "package.json", scripts)
    yield "javascript", ([*_NPM, "--loglevel=error"], scripts, {})
    yield "go", (["go", "build", "-o", str(BUILT / "go-nostr"), "./go"], HERE, {})
    yield "khatru", (["go", "build", "-o", str(BUILT / "khatru-relay"), "."], HERE / "khatru", {})
    for script in sorted({it.script for it in LIBRARIES if it.language == "python" and it.needed}):
        python = BUILT / script / "bin" / "python"
        if not python.exists():
            yield f"venv of {script}", ([sys.executable, "-m", "venv", str(BUILT / script)], HERE, {})
        # Electrum's library is then taken from the system: its build from source needs autotools.
        chosen = {"ELECTRUM_ECC_DONT_COMPILE": "1"}
        yield script, ([str(python), *_PIP, "--requirement", str(HERE / "python" / f"{script}.txt")], HERE, chosen)


def _told(name: str, command: list[str], folder: Path, chosen: dict[str, str]) -> bool:
    """Whether a command did what it should; what it said if not."""
    if shutil.which(command[0]) is None:
        print(f"{name}: left out, {command[0]} is not on this machine")
        return False
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **chosen}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        print(f"{name}: left out, {' '.join(command)} has failed:\n{done.stdout.decode(errors='replace')}")
    return done.returncode == 0


if __name__ == "__main__":
    if install():
        (BUILT / "installed").touch()
    missing = [library.name for library in LIBRARIES if library.needed and not library.needed.exists()]
    print("clients that are missing:", ", ".join(missing) or "none")
