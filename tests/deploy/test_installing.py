"""docs/installing.md, typed: a wheel of the sources as they are, installed by pip and by pipx, and the relay of it.

As a service, and as an image, `make machines` does the same on a machine of its own.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGINT

import pytest

from tests.building.test_distributions import release
from tests.e2e.test_wheel import say
from tests.support.keys import ALICE
from tests.support.page_blocks import shell_blocks
from tests.support.program import Program, running

pytestmark = [pytest.mark.exhaustive, pytest.mark.xdist_group("distributions")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of the source distribution, interpreted: it takes seconds."""
    _, wheel = release(tmp_path_factory.mktemp("release"))
    return wheel


@asynccontextmanager
async def typed(text: str, wheel: Path, folder: Path) -> AsyncIterator[Program]:
    """Type lines, of which the last starts a relay; gives that. Nothing outside of the folder is changed."""
    *steps, serving = text.replace("install trio-relay\n", f"install {wheel}\n").splitlines()
    variables = {
        "HOME": str(folder),
        "PATH": os.pathsep.join([str(folder / ".local/bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PIPX_HOME": str(folder / ".local/pipx"),
        "PIPX_BIN_DIR": str(folder / ".local/bin"),
        "PIPX_DEFAULT_PYTHON": sys.executable,
    }
    say("bash", "-euc", "\n".join(steps), cwd=folder, **variables)
    program, *arguments = shlex.split(serving)
    found = shutil.which(program, path=variables["PATH"]) if "/" not in program else folder / program
    assert Path(str(found)).is_relative_to(folder)
    async with running(folder, command=[str(found), *arguments]) as relay:
        yield relay


async def check(relay: Program, said: str) -> None:
    """It stores and finds, and Ctrl-C ends it."""
    async with relay.client() as client:
        event = ALICE.event(said)
        assert await client.publish(event) == ["OK", event.id, True, ""]
        assert [found["id"] for found in await client.ask("all", {"ids": [event.id]})] == [event.id]
    relay.signal(SIGINT)
    assert await relay.wait() == 0


async def test_with_pip_it_is_a_relay_and_the_file_of_settings_is_there(wheel: Path, tmp_path: Path) -> None:
    first, with_file = shell_blocks("docs/installing.md", "With pip")
    async with typed(first, wheel, tmp_path) as relay:
        await check(relay, "by the defaults")
    assert (tmp_path / "data" / "relay.db").exists()
    async with typed(with_file, wheel, tmp_path) as relay:
        await check(relay, "by a file")
    assert (tmp_path / "relay.toml").exists()


async def test_what_operators_copy_comes_with_it(wheel: Path, tmp_path: Path) -> None:
    # What is installed in this environment is not this one's to replace.
    pip = (sys.executable, "-m", "pip", "--quiet", "install", "--ignore-installed", "--no-deps", "--prefix", tmp_path)
    say(*pip, wheel)
    files = {path.relative_to(tmp_path / "share").as_posix() for path in (tmp_path / "share").rglob("*.*")}
    assert files >= {
        "trio-relay/relay.toml",
        "trio-relay/systemd/trio-relay.service",
        "trio-relay/systemd/trio-relay.socket",
        "trio-relay/nginx/trio-relay.conf",
        "trio-relay/grafana/trio-relay.json",
        "trio-relay/prometheus/trio-relay.rules.yml",
    }
    assert (tmp_path / "share/trio-relay/caddy/Caddyfile").exists()


@pytest.mark.skipif(shutil.which("pipx") is None, reason="pipx is not installed")
async def test_with_pipx_it_is_a_command(wheel: Path, tmp_path: Path) -> None:
    [text] = shell_blocks("docs/installing.md", "With pipx")
    async with typed(text, wheel, tmp_path) as relay:
        await check(relay, "as a command")
