"""The working tree as a commit of it would be."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.support.hot_path import ROOT


def tracked() -> list[str]:
    """All that Git has of it, by paths from the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


def copied(folder: Path) -> Path:
    """Copy that to a folder which is not there yet."""
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def git(folder: Path, *arguments: str) -> None:
    """Have git do something there, which must succeed."""
    who = ("-c", "user.name=Test", "-c", "user.email=test@test.example")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True)
