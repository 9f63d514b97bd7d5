"""What is in the source distribution and the wheel: the commit and the package, and nothing of where they are built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from email.parser import BytesParser
from pathlib import Path

import pytest

from building import archives, distributions, first_event
from building.notes import tag_of
from tests.building.working_tree import copied, git, tracked
from tests.support.hot_path import ROOT
from tests.support.page_blocks import shell_blocks, typed
from tests.support.program import launcher
from trio_relay.version import __version__

pytestmark = [pytest.mark.exhaustive, pytest.mark.xdist_group("distributions")]

MOMENT = 1_700_000_000
NAME = f"trio_relay-{__version__}"


def built(tree: Path, what: str, into: Path) -> Path:
    """Have the backend build it in this tree, without an environment of its own; gives the file."""
    environment = {**os.environ, **distributions.SETTLED, "SOURCE_DATE_EPOCH": str(MOMENT), "TRIO_RELAY_COMPILE": "0"}
    environment.pop("PYTHONPATH", None)
    backend = "import sys, os; sys.path.insert(0, 'building'); import backend"
    command = [sys.executable, "-c", f"{backend}; backend.build_{what}({str(into)!r})"]
    ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    [file] = into.glob("*.tar.gz" if what == "sdist" else "*.whl")
    return file


def release(folder: Path) -> tuple[Path, Path]:
    """Build both of a copy of the working tree in this folder, as `make release` does but for the compiling."""
    into, unpacked = folder / "built", folder / "unpacked"
    into.mkdir(parents=True)
    sources = built(copied(folder / "tree"), "sdist", into)
    archives.pack_again(sources, MOMENT)
    shutil.unpack_archive(sources, unpacked)
    return sources, built(unpacked / NAME, "wheel", into)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where both have been built."""
    folder = tmp_path_factory.mktemp("release")
    release(folder)
    return folder


def contents(folder: Path, pattern: str) -> dict[str, bytes]:
    [file] = (folder / "built").glob(pattern)
    return {name: content for name, (_, content) in archives.members(file).items()}


def test_the_source_distribution_is_what_git_has(folder: Path) -> None:
    files = contents(folder, "*.tar.gz")
    made = re.compile(r"PKG-INFO|setup\.cfg|trio_relay\.egg-info/.*")
    names = {name.removeprefix(f"{NAME}/") for name, content in files.items() if (folder / "unpacked" / name).is_file()}
    assert sorted(name for name in names if not made.fullmatch(name)) == sorted(tracked())
    assert all(files[f"{NAME}/{name}"] == (ROOT / name).read_bytes() for name in tracked())


async def test_the_page_tells_how_that_is_compared(folder: Path, tmp_path: Path) -> None:
    [block] = shell_blocks("docs/releasing.md", "Checking a release")
    git(folder / "tree", "init", "--quiet")
    git(folder / "tree", "add", "--all")
    git(folder / "tree", "commit", "--quiet", "--message", "All of it")
    git(folder / "tree", "tag", tag_of(__version__))
    [sources] = (folder / "built").glob("*.tar.gz")
    shutil.copy(sources, tmp_path)
    ended = await typed(tmp_path, block, variables={"GIT_DIR": str(folder / "tree" / ".git")})
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.decode().splitlines() == [
        f"Only in {NAME}: {made}" for made in ("PKG-INFO", "setup.cfg", "trio_relay.egg-info")
    ]


def test_the_wheel_is_the_package_what_is_said_of_it_and_the_files_for_operators(folder: Path) -> None:
    package = {name for name in tracked() if name.startswith("trio_relay/")}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    data = {
        f"{NAME}.data/data/{place}/{file.name}"
        for place, patterns in settings.get("data-files", {}).items()
        for pattern in patterns
        for file in ROOT.glob(pattern)
    }
    names = set(contents(folder, "*.whl"))
    assert names >= package | data
    about = rf"{NAME}\.dist-info/(METADATA|WHEEL|RECORD|entry_points\.txt|top_level\.txt|licenses/LICENSE)"
    verifier = r"trio_relay/nostr/_batch\..+\.so"
    others = sorted(names - package - data)
    assert [name for name in others if not re.fullmatch(f"{about}|{verifier}", name)] == []


def test_what_is_said_of_it_can_be_read_anywhere(folder: Path) -> None:
    [metadata] = (content for name, content in contents(folder, "*.whl").items() if name.endswith("/METADATA"))
    said = BytesParser().parsebytes(metadata)
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("trio-relay", __version__, "MIT")
    assert (said["Description-Content-Type"], said["License-File"]) == ("text/markdown", "LICENSE")
    page = str(said.get_payload())
    assert page.startswith("# trio-relay\n")
    assert re.findall(r"\]\((?!https://)[^)]*\)", page) == []  # a link into the sources leads nowhere from there


def test_built_in_another_folder_it_is_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "a" / "place" / "of another length"
    release(other)
    assert archives.differences(folder / "built", other / "built") == []
    assert archives.folders_named(folder / "built", [str(folder), str(ROOT), str(Path.home())]) == []


@pytest.fixture
def installed(folder: Path, tmp_path: Path) -> Path:
    """A folder with the wheel installed, and nothing that it depends on."""
    [wheel] = (folder / "built").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--quiet", "--no-input", "install", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--target", tmp_path, wheel], check=True, cwd=tmp_path)
    return tmp_path


async def test_the_relay_in_it_takes_an_event_and_gives_it_back(installed: Path) -> None:
    command = launcher(f"import sys; sys.path.insert(0, {str(installed)!r})")
    await first_event.try_out(command, __version__, "interpreted")
