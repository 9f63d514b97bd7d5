"""The Pythons that a release is for, and where they are on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_WHERE: Final = "import sys, platform; print(sys.executable, platform.python_version(), sep='\\n')"


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter of this machine.

    Attributes:
        version: such as `3.11`.
        release: such as `3.11.7`.
        executable: what runs it.
    """

    version: str
    release: str
    executable: Path


def supported(pyproject: str) -> list[str]:
    """Return the versions that pyproject.toml names among its classifiers, such as `3.11`, in their order."""
    named: list[str] = tomllib.loads(pyproject)["project"]["classifiers"]
    return [found[1] for line in named if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line))]


def find(version: str) -> Python:
    """Find a Python on PATH, or else among those of pyenv.

    Args:
        version: such as `3.11`.

    Raises:
        LookupError: there is none that runs.
    """
    for candidate in _candidates(version):
        ended = subprocess.run([candidate, "-c", _WHERE], capture_output=True, text=True, check=False)
        if ended.returncode == 0:  # pyenv puts commands on PATH that only say how to choose a version
            executable, release = ended.stdout.splitlines()
            return Python(version, release, Path(executable))
    raise LookupError(f"there is no Python {version}, neither on PATH nor in pyenv: install it, with its header files")


def _candidates(version: str) -> Iterator[str]:
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    yield from sorted((str(path) for path in pyenv.glob(f"versions/{version}.*/bin/python")), reverse=True)
