"""Builds what is compiled: the batch verifier in C, and the hot path by mypyc. The relay works without either.

The hot path is the modules that pyproject.toml lists (docs/compiled.md): all of them are compiled or none. They never
come to lie beside their sources, where they would hide what is edited there: an editable installation runs these as
they are. The variable TRIO_RELAY_COMPILE says 0 to leave the hot path as it is, and 1 to fail where it cannot be
compiled; without it, what cannot be compiled is interpreted.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Final

from cffi import FFI
from setuptools import Distribution, setup
from setuptools.command.build_ext import build_ext

WISH: Final = os.environ.get("TRIO_RELAY_COMPILE", "")
_AT_A_TIME: Final = 2
"""Rooms that are compiled at a time; each is one file of C, and takes a quarter of a gigabyte."""

_IMPORTING: Final = """
import importlib, sys
_, folder, *names = sys.argv
sys.path.insert(0, folder)
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name.startswith("trio_relay"):
            raise
"""


class BuildExtensions(build_ext):
    """Builds the batch verifier, and then the hot path where that has shown a compiler that works."""

    def run(self) -> None:
        """See the class."""
        if self.inplace:
            super().run()
            return
        # The folder may hold what an earlier build has made of other sources, and all that it holds is installed.
        for stale in [*Path(self.build_lib).rglob("*.so"), *Path(self.build_lib).rglob("*.pyd")]:
            stale.unlink()
        super().run()
        if WISH == "0":
            return
        try:
            if not Path(self.get_ext_fullpath(verifier.name)).exists():
                raise OSError("there is no C compiler, or none of Python's header files")
            self._compile(hot_path())
        except (Exception, SystemExit) as error:  # mypyc exits where types are wrong
            if WISH == "1":
                raise
            self.warn(f"the hot path stays interpreted: {error}")

    def _compile(self, rooms: dict[str, list[str]]) -> None:
        """Translate the rooms and compile them side by side, each with small modules that open it."""
        from mypyc.build import mypycify

        with tempfile.TemporaryDirectory() as folder:
            # Without mypy's cache, from which mypyc 2.4.1 fails with "value is not in list".
            options = ["--config-file=", f"--cache-dir={os.devnull}", "--ignore-missing-imports"]
            compiled = mypycify(
                [*options, *(file for files in rooms.values() for file in files)],
                separate=[(files, f"trio_relay_{room}") for room, files in rooms.items()],
                opt_level=os.environ.get("TRIO_RELAY_OPTIMIZE", "2"),
                debug_level="0",
                target_dir=f"{folder}/c",
            )
            building = build_ext(Distribution({"name": "trio-relay", "ext_modules": compiled}))
            building.build_lib, building.build_temp = f"{folder}/built", f"{folder}/objects"
            building.parallel = _AT_A_TIME
            building.ensure_finalized()
            building.run()
            # Only once all of it is there: a module without its room cannot be imported.
            shutil.copytree(building.build_lib, self.build_lib, dirs_exist_ok=True)
            try:
                _import([file for files in rooms.values() for file in files], self.build_lib)
            except BaseException:
                for path in Path(building.build_lib).rglob("*.*"):
                    Path(self.build_lib, path.relative_to(building.build_lib)).unlink(missing_ok=True)
                raise


def _import(files: list[str], folder: str) -> None:
    """See that these modules can be imported from there, if what they need is here.

    Raises:
        ImportError: one of them fails; some that compile do.
    """
    names = [file.removesuffix(".py").replace("/", ".") for file in files]
    ended = subprocess.run(
        # -B: all that comes to lie in the folder is installed.
        [sys.executable, "-B", "-c", _IMPORTING, folder, *names],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise ImportError(ended.stderr.strip().rpartition("\n")[2])


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


def description() -> str:
    """README.md as a page of its own, for package indexes: links to other files are plain words there."""
    return re.sub(r"\[([^\]]+)\]\((?!\w+:|#)[^)]+\)", r"\1", Path("README.md").read_text(encoding="utf-8"))


verifier = batch_verifier()
setup(
    long_description=description(),
    long_description_content_type="text/markdown",
    ext_modules=[verifier],
    cmdclass={"build_ext": BuildExtensions},
)
