"""Debian 13 in a folder, made once, and machines that begin as it is.

Each keeps what it changes in a folder of its own, by overlayfs, and runs by systemd-nspawn.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.hot_path import ROOT

FOLDER: Final = ROOT / "build" / "machines"
RELEASE: Final = "trixie"
_PACKAGES: Final = "ca-certificates,python3,python3-pip,python3-venv,python3-dev,systemd,systemd-sysv,dbus"
_AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_HANDED_ON: Final = ("PIP_CERT", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT", "TRIO_RELAY_COMPILE", "TRIO_RELAY_OPTIMIZE")
"""Variables that reach into a machine: how this one reaches a package index, and what a compiler should do."""
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MINUTES: Final = 60


def debian() -> Path:
    """Debian's packages and Python, without a compiler; `python` and `pip` are as in the images of Python."""
    root = FOLDER / RELEASE
    if not root.exists():
        part = FOLDER / f"{RELEASE}.part"
        shutil.rmtree(part, ignore_errors=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        finish(["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", RELEASE, str(part), _mirror()])
        (part / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        for marker in part.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
            marker.unlink()
        part.rename(root)
    return root


def _mirror() -> str:
    """Where this machine itself has its packages from."""
    for path in [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]:
        if path.exists() and (found := re.search(r"\bhttps?://\S+/debian/?(?=\s)", path.read_text())) is not None:
            return found[0]
    return "http://deb.debian.org/debian"


@contextmanager
def changing(root: Path, changes: Path | None, *below: Path) -> Iterator[None]:
    """Have a folder look like others, one over the other, the uppermost first.

    Args:
        root: looks like that while the context lasts.
        changes: takes whatever is changed; None: nothing can be.
        below: what it looks like.
    """
    options = f"lowerdir={':'.join(map(str, below))}"
    root.mkdir(parents=True, exist_ok=True)
    if changes is None:
        options = f"ro,{options}"
    else:
        work = changes.with_name(f"{changes.name}.work")
        for folder in (changes, work):
            folder.mkdir(parents=True)
        options += f",upperdir={changes},workdir={work}"
    finish(["mount", "-t", "overlay", "overlay", "-o", options, str(root)])
    try:
        yield
    finally:
        finish(["umount", "--lazy", str(root)])


def contained(root: Path, *flags: str, environment: Mapping[str, str] | None = None) -> list[str]:
    """What starts a command, or a system, in a folder as its root; it ends with it."""
    settings = [f"--setenv={name}={value}" for name, value in (environment or {}).items()]
    return ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={root}", *flags, *settings]


def do(root: Path, script: str, *, folder: str = "/", environment: Mapping[str, str] | None = None) -> str:
    """Run a script as root in there, with this machine's network; gives what it says, and fails if the script does."""
    ours = {name: value for name, value in os.environ.items() if name in _HANDED_ON}
    flags = ["--pipe", "--as-pid2", f"--chdir={folder}", "--resolv-conf=bind-host"]
    if _AUTHORITIES.exists():
        flags.append(f"--bind-ro={_AUTHORITIES}")
    command = contained(root, *flags, environment={**ours, "PATH": PATH, **(environment or {})})
    return finish([*command, "/bin/sh", "-ec", script])


def inside(process: int, *command: str, environment: Mapping[str, str] | None = None, user: int = 0) -> list[str]:
    """What runs a command beside the first process of a machine.

    Args:
        process: that first process, by its number out here.
        command: the program and its arguments.
        environment: all that it has of one.
        user: as whom, and whose group.
    """
    settings = [f"{name}={value}" for name, value in {"PATH": PATH, "HOME": "/", **(environment or {})}.items()]
    entering = ["nsenter", f"--target={process}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--wdns=/"]
    return [*entering, f"--setuid={user}", f"--setgid={user}", "env", "--ignore-environment", *settings, *command]


def first_process(container: int) -> int:
    """The first process of a machine, by the process that keeps it."""
    [only] = Path(f"/proc/{container}/task/{container}/children").read_text().split()
    return int(only)


def end(container: subprocess.Popen[str]) -> None:
    """End a machine by its first process: killed itself, what keeps it would leave that running."""
    if container.poll() is None:
        os.kill(first_process(container.pid), signal.SIGKILL)
        container.wait(MINUTES)


def finish(command: Sequence[str], *, minutes: int = 15) -> str:
    """Run a command to its end; gives what it said, and fails with that if the command does."""
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        timeout=minutes * MINUTES,
    )  # fmt: skip
    assert ended.returncode == 0, f"{command}: {ended.returncode}\n{ended.stdout}"
    return ended.stdout
