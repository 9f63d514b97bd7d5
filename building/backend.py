"""The build backend of pyproject.toml: that of setuptools, which compiles with mypy where a C compiler is.

A wheel is built in an environment of its own. There mypy has to see the types of the dependencies, or compiled code
would take every class of theirs for anything; an editable installation is not compiled and needs none of it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
import tomllib
from collections.abc import Mapping
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_sdist,
    build_wheel,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]


def get_requires_for_build_wheel(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """Name what is needed to build a wheel."""
    required = build_meta.get_requires_for_build_wheel(config_settings)
    if os.environ.get("TRIO_RELAY_COMPILE") == "0" or not _has_compiler():
        return required
    with open("pyproject.toml", "rb") as file:
        settings = tomllib.load(file)
    return [*required, settings["tool"]["trio-relay"]["compiler"], *settings["project"]["dependencies"]]


def _has_compiler() -> bool:
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    try:
        return subprocess.run([*command, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
