"""Builds the source distribution and the wheels of a tree, so that the same tree always gives the same bytes.

All goes by `python -m build`, in environments of its own with what constraints.txt pins. What else could come into a
file from where, when and by whom it is built is settled in `_settled`, by `pack_again`, and by `strip`, which takes the
names of C files away.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from building.archives import pack_again
from building.environments import environment, run, tool
from building.pythons import Python

SETTLED: Final = {
    "TRIO_RELAY_COMPILE": "1",
    "TRIO_RELAY_OPTIMIZE": "2",
    "CC": "gcc",
    # Python's own differ from one to the next: some have folders in them, some leave asserts in, which name files.
    "CFLAGS": "-DNDEBUG -fno-strict-overflow -O2 -g0",
    "LDSHARED": "gcc -shared",
    "CPPFLAGS": "",
    "LDFLAGS": "",
}

_OLDEST: Final = "manylinux_2_17"
"""The C library that a wheel must run with: glibc 2.17 of 2012. Compiled code calls nothing that is not in 2.14."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A commit in a folder, and what is built of it.

    Attributes:
        folder: with all files of the commit, and nothing else.
        moment: of the commit, in seconds since 1970: the time of all that is built.
        scratch: a folder for environments, and for what is not finished.
    """

    folder: Path
    moment: int
    scratch: Path

    def source_distribution(self, python: Python, into: Path) -> Path:
        """Build it by this Python; gives its path.

        Raises:
            RuntimeError: it cannot be built; says why.
        """
        self._build(python, "--sdist", self.folder, into)
        [archive] = into.glob("*.tar.gz")
        pack_again(archive, self.moment)
        return archive

    def wheel(self, python: Python, sources: Path, into: Path) -> Path:
        """Build a compiled wheel for this Python of a source distribution; gives its path.

        Raises:
            RuntimeError: it cannot be built or compiled, or would not run with other C libraries; says why.
        """
        unpacked, plain, repaired = (self._emptied(name) for name in ("unpacked", "plain", "repaired"))
        self._run(["tar", "-xf", sources, "-C", unpacked])
        [folder] = unpacked.iterdir()
        self._build(python, "--wheel", folder, plain)
        [wheel] = plain.iterdir()
        # What needs a newer C library, or another one that would have to be brought along, fails here.
        repair = ("repair", "--plat", f"{_OLDEST}_{platform.machine()}", "--patcher", "none", "--strip")
        self._run([tool("auditwheel"), *repair, "--wheel-dir", repaired, wheel])
        [wheel] = repaired.iterdir()
        return Path(shutil.copy(wheel, into))

    def _build(self, python: Python, what: str, folder: Path, into: Path) -> None:
        constraints = self.folder / "constraints.txt"
        builder = self.scratch / f"builder-{python.version}"
        if not builder.exists():
            environment(python, builder, ["build"], constraints)
        pinned = ("--dependency-constraints-txt", constraints)
        self._run([builder / "bin" / "python", "-m", "build", what, *pinned, "--outdir", into, folder])

    def _run(self, command: Sequence[str | Path]) -> None:
        run(command, cwd=self.scratch, variables={**SETTLED, "SOURCE_DATE_EPOCH": str(self.moment)})

    def _emptied(self, name: str) -> Path:
        folder = self.scratch / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder
