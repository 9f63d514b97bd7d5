"""The modules that are compiled where there is a C compiler, and whether they are here."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

import trio_relay

ROOT: Final = Path(trio_relay.__file__).resolve().parent.parent


def listed() -> list[str]:
    """The list of pyproject.toml: paths of files, from the root."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        files: list[str] = tomllib.load(file)["tool"]["trio-relay"]["compiled"]
    return files


def compiled() -> list[str]:
    """Those of them that are compiled here."""
    modules = {file: importlib.import_module(file.removesuffix(".py").replace("/", ".")) for file in listed()}
    return [file for file, module in modules.items() if not str(module.__file__).endswith(".py")]


def all_as_asked(environment: Mapping[str, str]) -> str:
    """Which code is tested: none of the list is compiled, or with COMPILED=1 all of it; anything else ends the run."""
    wanted = listed() if environment.get("COMPILED") == "1" else []
    if (here := compiled()) != wanted:
        pytest.exit(f"{len(here)} modules are compiled instead of {len(wanted)}: {trio_relay.__file__}", returncode=3)
    return "compiled" if wanted else "interpreted"
