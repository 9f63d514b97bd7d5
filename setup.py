"""Builds what is compiled: the batch verifier and the hot path. Without a C compiler the relay installs all the same.

The hot path is the modules that pyproject.toml lists, compiled by mypyc (docs/compiled.md): all of them or none. An
editable installation has none: it runs the sources as they are.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from cffi import FFI
from setuptools import Distribution, setup
from setuptools.command.build_ext import build_ext

_AT_A_TIME = 2
"""Rooms that are compiled at a time; each is one file of C, and takes a quarter of a gigabyte."""


class BuildExt(build_ext):
    """Builds the extensions, then the hot path beside them."""

    def run(self) -> None:
        """Build both; the hot path fails in one line, and without a trace."""
        super().run()
        if self.inplace or getattr(self, "editable_mode", False):
            return  # a compiled module beside its source would go on shadowing it when that is edited
        missing = self._missing()
        if missing is None:
            try:
                self._compile(hot_path())
            except (Exception, SystemExit) as error:  # mypyc exits where types are wrong
                missing = f"mypyc failed with {error!r}"
        if missing is not None:
            print(f"trio-relay: the hot path stays interpreted: {missing}")

    def _missing(self) -> str | None:
        """Why nothing is to be compiled, found out before that takes time; None if it is."""
        if os.environ.get("TRIO_RELAY_COMPILE") == "0":
            return "TRIO_RELAY_COMPILE is 0"
        compiler = shlex.split(os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc"))
        try:
            subprocess.run([*compiler, "--version"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return "there is no C compiler"
        try:
            import mypyc.build  # noqa: F401  # an installation from a bare checkout may be without it
        except ImportError:
            return "mypy is not installed"
        return None

    def _compile(self, rooms: dict[str, list[str]]) -> None:
        from mypyc.build import mypycify

        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            (scratch / "mypy.ini").write_text(f"[mypy]\nignore_missing_imports = true\ncache_dir = {os.devnull}\n")
            compiled = mypycify(
                ["--config-file", str(scratch / "mypy.ini"), *(file for files in rooms.values() for file in files)],
                separate=[(files, f"trio_relay_{room}") for room, files in rooms.items()],
                opt_level=os.environ.get("TRIO_RELAY_OPTIMIZE", "2"),
                debug_level="0",
                target_dir=str(scratch / "c"),
            )
            # Built elsewhere, and moved once all of it is there: a module without its room cannot be imported.
            building = build_ext(Distribution({"name": "trio-relay", "ext_modules": compiled}))
            building.build_lib, building.build_temp = str(scratch / "built"), str(scratch / "objects")
            building.parallel = _AT_A_TIME
            building.ensure_finalized()
            building.run()
            shutil.copytree(scratch / "built", self.build_lib, dirs_exist_ok=True)


def hot_path() -> dict[str, list[str]]:
    """The files that are compiled, by room."""
    with open("pyproject.toml", "rb") as source:
        files: list[str] = tomllib.load(source)["tool"]["trio-relay"]["compiled"]
    rooms: dict[str, list[str]] = {}
    for file in files:
        _, *rest = Path(file).parent.parts
        rooms.setdefault(rest[0] if rest else "top", []).append(file)
    return rooms


def batch_verifier() -> Any:
    """The extension in C; loaded by path, since the package cannot be imported before its dependencies are there."""
    namespace: dict[str, object] = {}
    with open("trio_relay/nostr/batch_build.py", encoding="utf-8") as source:
        exec(compile(source.read(), "batch_build.py", "exec"), namespace)
    ffi = namespace["ffi"]
    assert isinstance(ffi, FFI)
    extension = ffi.distutils_extension()
    extension.optional = True
    return extension


if __name__ == "__main__":
    setup(ext_modules=[batch_verifier()], cmdclass={"build_ext": BuildExt})
