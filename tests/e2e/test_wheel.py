"""The wheel: built as `pip wheel` builds it, installed where nothing else of ours is, and run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.support.hot_path import ROOT
from tests.support.keys import ALICE
from tests.support.program import launcher, running

pytestmark = pytest.mark.exhaustive


def say(*command: str | Path, cwd: Path = Path("/"), **variables: str) -> None:
    """Run a command, which must succeed."""
    environment = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt"), **variables}
    environment.pop("PYTHONPATH", None)
    ended = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=cwd
    )
    assert ended.returncode == 0, ended.stdout


def build(folder: Path, wish: str) -> list[Path]:
    """Build the source distribution, a wheel of it, and install that in a folder; gives the compiled rooms in there."""
    say(sys.executable, "-c", f"from setuptools.build_meta import build_sdist\nbuild_sdist({str(folder)!r})", cwd=ROOT)
    [sources] = folder.glob("*.tar.gz")
    pip = (sys.executable, "-m", "pip", "--quiet", "--no-input")
    say(*pip, "wheel", "--no-deps", "--wheel-dir", folder, sources, TRIO_RELAY_COMPILE=wish)
    [wheel] = folder.glob("*.whl")
    say(*pip, "install", "--no-deps", "--target", folder / "there", wheel)
    return [*(folder / "there").glob("*__mypyc*")]


@pytest.mark.xdist_group("wheel")  # both write what setuptools keeps beside the sources
@pytest.mark.parametrize(("wish", "code"), [("1", "compiled"), ("0", "interpreted")])
async def test_a_wheel_is_compiled_unless_that_is_not_wanted(tmp_path: Path, wish: str, code: str) -> None:
    assert bool(build(tmp_path, wish)) == (code == "compiled")
    page = tmp_path / "there" / "share" / "man" / "man1" / "trio-relay.1"
    assert page.read_bytes() == (ROOT / "docs" / "trio-relay.1").read_bytes()
    # Its dependencies are those of this environment; the package itself is what was installed.
    command = launcher(f"import sys\nsys.path.insert(0, {str(tmp_path / 'there')!r})")
    async with running(tmp_path, command=command) as program:
        assert f"\n  code        {code}\n" in program.out
        async with program.client() as client:
            event = ALICE.event(content="from a wheel")
            assert await client.publish(event) == ["OK", event.id, True, ""]
            assert [found["id"] for found in await client.ask("all", {"ids": [event.id]})] == [event.id]
        program.signal(SIGTERM)
        assert await program.wait() == 0
