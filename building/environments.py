"""Fresh environments of any Python, and commands that must succeed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from building.pythons import Python

_NOT_HANDED_ON: Final = ("PYTHON", "VIRTUAL_ENV", "TRIO_RELAY_")
"""Variables that start like this: they bring packages of this environment, and wishes for it, into others."""


def tool(name: str) -> Path:
    """Return where a command of the environment that runs this is."""
    return Path(sys.executable).with_name(name)


def run(command: Sequence[str | Path], *, cwd: Path, variables: Mapping[str, str] | None = None) -> str:
    """Run a command to its end; gives what it wrote.

    Args:
        command: and its arguments.
        cwd: the folder that it runs in.
        variables: of its environment, beside ours.

    Raises:
        RuntimeError: it failed; says what it wrote.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_HANDED_ON)}
    ended = subprocess.run(
        command,
        cwd=cwd,
        env=inherited | dict(variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode:
        words = " ".join(map(str, command))
        raise RuntimeError(f"{words}\nended with {ended.returncode}:\n{ended.stdout}")
    return ended.stdout


def environment(
    python: Python,
    folder: Path,
    packages: Sequence[str | Path],
    constraints: Path,
    variables: Mapping[str, str] | None = None,
) -> Path:
    """Make a virtual environment with these packages in it; gives its folder of commands.

    Args:
        python: whose environment.
        folder: where it comes to be; must not be there.
        packages: by name or file.
        constraints: the file with the versions to take.
        variables: of the environment that the installation runs in.
    """
    run([python.executable, "-m", "venv", folder], cwd=folder.parent)
    pip = (folder / "bin" / "python", "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check")
    run([*pip, "install", "--constraint", constraints, *packages], cwd=folder.parent, variables=variables)
    run([*pip, "check"], cwd=folder.parent)
    return folder / "bin"
