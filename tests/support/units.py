"""Units of systemd: what they say, and whether systemd takes them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DEPLOYED: Final = Path(__file__).parents[2] / "deploy" / "systemd"
_TARGETS: Final = ("sysinit", "basic", "shutdown", "sockets", "network-online")


def said(unit: Path) -> dict[str, str]:
    """The settings of a unit or of what is added to one; the last of each name."""
    return dict(re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE))


def verify(names: Sequence[str], *folders: Path, root: Path) -> str:
    """What systemd has to say against units; nothing if it takes them.

    Args:
        names: of the units.
        folders: have files for /etc/systemd/system.
        root: an empty folder; their programs are made there, and do nothing, since only the units are asked about.
    """
    units = root / "etc" / "systemd" / "system"
    for folder in folders:
        shutil.copytree(folder, units, dirs_exist_ok=True)
    (root / "usr" / "lib" / "systemd").mkdir(parents=True)
    for name in names:
        if not (units / name).exists():  # Debian's, to which only some settings are added here
            (units / name).write_text("[Service]\nExecStart=/usr/sbin/program\n")
        for program in re.findall(r"^Exec\w+=(\S+)", (units / name).read_text(), re.MULTILINE):
            (root / program[1:]).parent.mkdir(parents=True, exist_ok=True)
            (root / program[1:]).write_text("#!/bin/sh\n")
            (root / program[1:]).chmod(0o755)
    for target in _TARGETS:
        (units / f"{target}.target").write_text("[Unit]\n")
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", f"--root={root}", *names],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert bool(checked.returncode) == bool(checked.stdout), checked.stdout
    return checked.stdout
