"""What the program says before it listens."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from signal import SIGTERM

import pytest

from tests.support.program import MODULE, SCRIPT, running
from trio_relay.version import CODE, __version__

pytestmark = pytest.mark.slow


async def _banner(folder: Path, settings: dict[str, str] | None = None, command: tuple[str, ...] = MODULE) -> list[str]:
    async with running(folder, settings, command=command) as program:
        program.signal(SIGTERM)
        assert await program.wait() == 0
    *banner, last = re.sub(r"(127\.0\.0\.1):\d+", r"\1:PORT", program.out).splitlines()
    assert last == "stopped"
    return banner


async def test_the_banner_names_all_that_matters_and_then_where_it_listens(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    settings = {
        **processes,
        "pipeline.verifiers": "3",
        "limits.max_filters": "7",
        "relay.url": "wss://relay.example.com/",
    }
    *banner, last = await _banner(tmp_path, settings)
    assert last == "listening on ws://127.0.0.1:PORT"
    assert [line for line in banner if "signatures" not in line and "WARNING" not in line] == [
        f"trio-relay {__version__}",
        f"  code        {CODE}",
        "  address     wss://relay.example.com/",
        "  store       sqlite data/relay.db (synchronous=full)",
        *(["  workers     2 processes, and this one for the store"] if processes else []),
        "  metrics     http://127.0.0.1:PORT/metrics",
        "  limits      message 1048576 bytes, content 262144 characters, 10000 tags, 300",
        "              subscriptions, 7 filters, 5000 events a filter (500 by default)",
    ]
    assert max(map(len, banner)) <= 80
    assert [line for line in banner if re.fullmatch(r"  signatures  (batch|coincurve|python), 3 verifiers", line)]


async def test_the_module_and_the_script_are_the_same_program(tmp_path: Path) -> None:
    assert await _banner(tmp_path, command=SCRIPT) == await _banner(tmp_path, command=MODULE)


async def test_with_a_c_compiler_signatures_are_verified_in_batches(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    banner = "\n".join(await _banner(tmp_path))
    found = re.search(r"^  signatures  (\w+),", banner, re.MULTILINE)
    assert found is not None
    # Without a compiler here, the program may still have been built by one elsewhere.
    assert found[1] in ({"batch"} if compiler else {"batch", "coincurve"})
    assert ("WARNING" in banner) == (found[1] != "batch")
