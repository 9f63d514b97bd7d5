"""Tries what was built as users get it: installed in fresh environments by pip, started, talked to, stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from building.environments import environment, run
from building.pythons import Python

_NO_COMPILER: Final = {"CC": "false", "CXX": "false"}


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to install a relay.

    Attributes:
        python: of the environment.
        package: the wheel or the source distribution.
        variables: of the environment that pip runs in.
        code: what must come of it, `compiled` or `interpreted`.
    """

    python: Python
    package: Path
    variables: dict[str, str]
    code: str

    def __str__(self) -> str:
        without = ", without a C compiler" if self.variables == _NO_COMPILER else ""
        return f"{self.package.name} on Python {self.python.release}{without}: {self.code}"

    def run(self, root: Path, scratch: Path, version: str) -> None:
        """Install and try it.

        Args:
            root: of the sources, for the versions of what it depends on.
            scratch: a folder for the environment; must be empty.
            version: what the relay must say of itself.

        Raises:
            RuntimeError: something failed; says what it wrote.
        """
        commands = environment(self.python, scratch / "venv", [self.package], root / "constraints.txt", self.variables)
        script = root / "building" / "first_event.py"
        run([commands / "python", "-I", script, version, self.code], cwd=scratch)


def trials(pythons: list[Python], wheels: dict[str, Path], sources: Path) -> Iterator[Trial]:
    """Give all that is to be tried: each wheel, and the sources with a compiler and without.

    Args:
        pythons: that the release is for.
        wheels: by the version of their Python.
        sources: the source distribution.
    """
    for python in pythons:
        yield Trial(python, wheels[python.version], _NO_COMPILER, "compiled")
        yield Trial(python, sources, _NO_COMPILER, "interpreted")
        # What the C compiler's optimizer makes of it is in the wheels; without that it takes half of the time.
        yield Trial(python, sources, {"TRIO_RELAY_OPTIMIZE": "0"}, "compiled")
