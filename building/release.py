"""A release of the commit that is checked out, in build/release: `make release` (docs/releasing.md).

    python -m building.release                   all of it
    python -m building.release --python 3.12     for one Python alone, as a rehearsal
    python -m building.release --untried         do not install and run what was built

Built are the source distribution and a wheel for each Python that pyproject.toml names, twice, in two folders: the
bytes must be the same. Then twine looks at the metadata, and each file is installed in fresh environments and run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from building.archives import differences, folders_named
from building.distributions import Tree
from building.environments import run, tool
from building.notes import release_notes, tag_of
from building.pythons import Python, find, supported
from building.trial import trials
from trio_relay.version import __version__

ROOT: Final = Path(__file__).resolve().parent.parent
RELEASE: Final = ROOT / "build" / "release"
_STARTED: Final = time.monotonic()


def main() -> None:
    """Make it, or end with exit code 1 and say what is wrong."""
    parser = argparse.ArgumentParser(description="Make a release in build/release.")
    parser.add_argument("--untried", action="store_true", help="do not install and run what was built")
    parser.add_argument("--python", action="append", metavar="VERSION", help="build for this one alone, such as 3.12")
    wishes = parser.parse_args()
    versions = wishes.python or supported((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    os.umask(0o022)  # what is unpacked has the modes that it has in the archives
    try:
        with tempfile.TemporaryDirectory() as scratch:
            _release(Path(scratch), versions, tried=not wishes.untried)
    except (LookupError, RuntimeError) as error:
        sys.exit(f"no release: {error}")


def _release(scratch: Path, versions: list[str], tried: bool) -> None:
    if changed := run(["git", "status", "--porcelain"], cwd=ROOT):
        raise RuntimeError(f"what is not committed would be missing in it:\n{changed}")
    notes = release_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), __version__)
    pythons = [find(version) for version in versions]
    # Folders of other names, other depths and other lengths, so that none of it can be in what is built.
    first, second = scratch / "one", scratch / "another" / "place"
    sources, wheels = _build(first, pythons)
    _build(second, pythons)
    _compare(first, second)
    _tell("twine looks at the metadata")
    run([tool("twine"), "check", "--strict", *sorted((first / "built").iterdir())], cwd=ROOT)
    if tried:
        _try(scratch, pythons, wheels, sources)
    _lay_out(first / "built", notes, pythons)


def _build(folder: Path, pythons: list[Python]) -> tuple[Path, dict[str, Path]]:
    """Build everything in this folder; gives the source distribution, and the wheels by their Pythons."""
    for part in ("tree", "scratch", "built"):
        (folder / part).mkdir(parents=True)
    run(["git", "archive", "--output", folder / "commit.tar", "HEAD"], cwd=ROOT)
    run(["tar", "-xf", folder / "commit.tar", "-C", folder / "tree"], cwd=ROOT)
    tree = Tree(folder / "tree", _moment(), folder / "scratch")
    _tell("building the source distribution")
    sources = tree.source_distribution(pythons[0], folder / "built")
    wheels = {}
    for python in pythons:
        _tell(f"building the wheel for Python {python.release}")
        wheels[python.version] = tree.wheel(python, sources, folder / "built")
    return sources, wheels


def _compare(first: Path, second: Path) -> None:
    """See that both folders hold the same, and nothing that names them."""
    if found := differences(first / "built", second / "built"):
        raise RuntimeError("\n".join(["two builds of the same commit differ", *found]))
    if named := folders_named(first / "built", [str(first), str(ROOT), str(Path.home())]):
        raise RuntimeError("\n".join(["there are folders of this machine in what was built", *named]))
    _tell("built twice, in two folders: the same bytes")


def _try(scratch: Path, pythons: list[Python], wheels: dict[str, Path], sources: Path) -> None:
    for number, trial in enumerate(trials(pythons, wheels, sources)):
        _tell(f"trying {trial}")
        (folder := scratch / f"trial-{number}").mkdir()
        trial.run(ROOT, folder, __version__)
        shutil.rmtree(folder)


def _lay_out(built: Path, notes: str, pythons: list[Python]) -> None:
    """Put what was built in its place, with the notes, what it was built by, and sums of all."""
    shutil.rmtree(RELEASE, ignore_errors=True)
    shutil.copytree(built, RELEASE)
    (RELEASE / "NOTES.md").write_text(notes, encoding="utf-8")
    (RELEASE / "BUILT-BY.txt").write_text(_built_by(pythons), encoding="utf-8")
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(RELEASE.iterdir())]
    (RELEASE / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    _tell(f"{tag_of(__version__)} is in {RELEASE.relative_to(ROOT)}")


def _built_by(pythons: list[Python]) -> str:
    """What has to be the same for the same bytes, beside what constraints.txt pins."""
    compiler, linker = (run([name, "--version"], cwd=ROOT).splitlines()[0] for name in ("gcc", "ld"))
    return "".join(
        f"{line}\n"
        for line in (
            f"commit {run(['git', 'rev-parse', 'HEAD'], cwd=ROOT).strip()}",
            f"SOURCE_DATE_EPOCH={_moment()}",
            f"{platform.machine()}, {' '.join(platform.libc_ver())}",
            compiler,
            linker,
            *(f"Python {python.release}" for python in pythons),
        )
    )


def _moment() -> int:
    return int(run(["git", "log", "-1", "--format=%ct"], cwd=ROOT))


def _tell(what: str) -> None:
    print(f"{time.monotonic() - _STARTED:5.0f} s  {what}", flush=True)


if __name__ == "__main__":
    main()
