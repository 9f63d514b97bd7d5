"""What a node needs on this machine: a JDK, and the jars of one version of OpenSearch, which Maven fetches once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from perf.plan import Failed

SOURCES: Final = Path(__file__).parent
_JVMS: Final = Path("/usr/lib/jvm")
_RELEASE: Final = re.compile(r'^JAVA_VERSION="(\d+)', re.MULTILINE)


def missing(version: str) -> str | None:
    """Why this version of OpenSearch cannot run here; None if it can."""
    if find_jdk(version) is None:
        return f"OpenSearch {version} needs a JDK of version {_oldest_java(version)} or newer"
    if shutil.which("mvn") is None and not _home(version).is_dir():
        return f"Maven (mvn), which fetches OpenSearch {version}, is not installed"
    return None


def find_jdk(version: str) -> Path | None:
    """The home of a JDK that runs this version: that of JAVA_HOME, that of the PATH, or another that is installed."""
    oldest = _oldest_java(version)
    return next((home for home in _jdks() if (java := _java(home)) is not None and java >= oldest), None)


def prepare(version: str) -> Path:
    """The folder with its jars in `lib` and the launcher in `classes`; made on the first call, by one at a time.

    Raises:
        Failed: something is missing, or Maven cannot fetch it.
    """
    jdk = find_jdk(version)
    if (reason := missing(version)) is not None or jdk is None:
        raise Failed(reason or "no JDK")
    home = _home(version)
    home.parent.mkdir(parents=True, exist_ok=True)
    with (home.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.is_dir():
            with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
                made = Path(scratch) / "made"
                _fetch(version, jdk, made / "lib")
                _compile(jdk, made)
                made.rename(home)
    return home


def _oldest_java(version: str) -> int:
    return 21 if int(version.partition(".")[0]) >= 3 else 11


def _jdks() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if (javac := shutil.which("javac")) is not None:
        yield Path(javac).resolve().parent.parent
    if _JVMS.is_dir():
        yield from sorted(_JVMS.iterdir())


def _java(home: Path) -> int | None:
    """The version of the JDK; None if it is none, or not whole."""
    if not (home / "bin" / "java").exists() or not (home / "bin" / "javac").exists():
        return None
    try:
        found = _RELEASE.search((home / "release").read_text())
    except OSError:
        return None
    return int(found[1]) if found is not None else None


def _home(version: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    sources = b"".join((SOURCES / name).read_bytes() for name in ("pom.xml", "SingleNode.java"))
    return cache / "trio-relay" / "opensearch" / f"{version}-{hashlib.sha256(sources).hexdigest()[:8]}"


def _fetch(version: str, jdk: Path, target: Path) -> None:
    maven = ["mvn", "--batch-mode", "--quiet", "--file", str(SOURCES / "pom.xml"), f"-Dopensearch={version}"]
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    _run([*maven, *copy], jdk)


def _compile(jdk: Path, home: Path) -> None:
    javac = [str(jdk / "bin" / "javac"), "-nowarn", "-proc:none", "--release", "11"]
    _run([*javac, "-cp", f"{home}/lib/*", "-d", f"{home}/classes", str(SOURCES / "SingleNode.java")], jdk)


def _run(command: list[str], jdk: Path) -> None:
    done = subprocess.run(
        command, env=os.environ | {"JAVA_HOME": str(jdk)}, capture_output=True, text=True, errors="replace"
    )
    if done.returncode:
        raise Failed(f"{command[0]} failed: {(done.stdout + done.stderr).strip()[-2000:]}")
