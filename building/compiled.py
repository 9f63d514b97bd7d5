"""A compiled copy of the package in build/compiled, for who works on its sources; these stay as they are.

    python -m building.compiled            make what `make run` starts then, or tell why not
    python -m building.compiled --where    tell where it is, if it was made from the sources as they are
    python -m building.compiled --whole    and beside it whatever the tests read, for `make test-compiled`

The copy is there only if it is compiled, and from the sources as they are: it is made anew, as a whole, when one of
them is another, and taken away when it cannot be made.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
COPY: Final = ROOT / "build" / "compiled"
_STAMP: Final = COPY / "made-of"
_LOG: Final = ROOT / "build" / "compiled.log"
_NOT_READ: Final = {".git", ".venv", "build", "data", "__pycache__"}
"""In the working tree, what no test reads, or what is made there."""


def main() -> None:
    """Make the copy if it is not there, and end with exit code 1 if it cannot be made."""
    made_of = _digest()
    is_there = _STAMP.exists() and _STAMP.read_text() == made_of
    if "--where" in sys.argv:
        if is_there and os.environ.get("TRIO_RELAY_COMPILE") != "0":
            print(COPY)
        else:
            print("runs interpreted; `make compiled` makes it faster, and takes a minute or two", file=sys.stderr)
        return
    _LOG.parent.mkdir(exist_ok=True)
    if not is_there:
        shutil.rmtree(COPY, ignore_errors=True)
        if not _build():
            sys.exit(1)
        _STAMP.write_text(made_of)
    if "--whole" in sys.argv:
        for path in ROOT.iterdir():
            if path.name not in _NOT_READ | {"trio_relay"} and not path.name.startswith(".venv"):
                _take(path)


def _build() -> bool:
    print("compiling the hot path, once for these sources", flush=True)
    command = [sys.executable, "setup.py", "--quiet", "build", "--build-lib", str(COPY)]
    with _LOG.open("wb") as log:
        environment = {**os.environ, "TRIO_RELAY_COMPILE": "1"}
        ended = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False)
    if ended.returncode:
        shutil.rmtree(COPY, ignore_errors=True)
        *_, reason = ["", *_LOG.read_text(errors="replace").strip().splitlines()]
        print(f"the hot path stays interpreted: {reason} ({_LOG.relative_to(ROOT)} has the rest)")
    return ended.returncode == 0


def _digest() -> str:
    """Return what tells these sources, and what they are compiled by, from all others."""
    digest = hashlib.sha256(f"{sys.version} {os.environ.get('CC')} {os.environ.get('TRIO_RELAY_OPTIMIZE')}".encode())
    for path in sorted(_sources()):
        text = path.read_bytes()
        digest.update(f"\n{path.relative_to(ROOT)} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    yield from (ROOT / "setup.py", ROOT / "pyproject.toml")
    yield from (ROOT / "trio_relay").rglob("*.py")


def _take(path: Path) -> None:
    copy = COPY / path.name
    if path.is_dir():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(path, copy, ignore=lambda _, names: _NOT_READ & set(names))
    else:
        shutil.copy2(path, copy)


if __name__ == "__main__":
    main()
