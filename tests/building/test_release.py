"""`make release`: for whom it builds, what it tries and what it refuses. All of it takes minutes, and runs by hand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from building import pythons, trial
from tests.building.working_tree import copied, git
from tests.support.hot_path import ROOT


def test_a_release_is_for_the_pythons_that_the_classifiers_name() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert pythons.supported(text) == ["3.11", "3.12", "3.13"]


@pytest.mark.slow
def test_the_python_that_runs_is_found_by_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / f"python{version}").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = pythons.find(version)
    assert (found.version, found.release) == (version, sys.version.split()[0])


@pytest.mark.slow
def test_a_command_that_does_not_run_is_passed_over_for_one_of_pyenv(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    ours = tmp_path / "pyenv" / "versions" / "3.99.1" / "bin" / "python"
    ours.parent.mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    with pytest.raises(LookupError, match=r"there is no Python 3\.99, neither on PATH nor in pyenv"):
        pythons.find("3.99")
    ours.symlink_to(sys.executable)
    assert pythons.find("3.99").version == "3.99"


def test_each_wheel_is_tried_without_a_compiler_and_the_sources_with_one_and_without() -> None:
    python = pythons.Python("3.12", "3.12.1", Path("/usr/bin/python3.12"))
    tried = trial.trials([python], {"3.12": Path("relay.whl")}, Path("relay.tar.gz"))
    assert list(map(str, tried)) == [
        "relay.whl on Python 3.12.1, without a C compiler: compiled",
        "relay.tar.gz on Python 3.12.1, without a C compiler: interpreted",
        "relay.tar.gz on Python 3.12.1: compiled",
    ]


@pytest.fixture
def commit(tmp_path: Path) -> Path:
    """A repository with one commit, which has what the working tree has."""
    folder = copied(tmp_path / "commit")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "All of it")
    return folder


def refused(folder: Path) -> str:
    """What it says of there being no release of this repository."""
    command = [sys.executable, "-m", "building.release"]
    ended = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    return ended.stderr


@pytest.mark.exhaustive
def test_what_is_not_committed_is_refused(commit: Path) -> None:
    (commit / "LICENSE").write_text("all yours")
    (commit / "trio_relay" / "new.py").touch()
    reason = "no release: what is not committed would be missing in it:\n M LICENSE\n?? trio_relay/new.py\n\n"
    assert refused(commit) == reason


@pytest.mark.exhaustive
def test_a_version_of_which_the_changelog_says_nothing_is_refused(commit: Path) -> None:
    text = (commit / "CHANGELOG.md").read_text(encoding="utf-8")
    (commit / "CHANGELOG.md").write_text(text.replace("## [1", "## [9"), encoding="utf-8")
    git(commit, "commit", "--quiet", "--all", "--message", "Another number")
    assert refused(commit).startswith("no release: CHANGELOG.md has no heading `## [")
