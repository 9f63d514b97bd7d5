"""The program asks plugins: about what is imported, and about what clients publish to any of its workers."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from tests.support.keys import ALICE, BOB
from tests.support.program import finished, running
from trio_relay.nostr.event import encode

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parents[1] / "plugins" / "programs"
WHITELIST = shlex.join([sys.executable, str(PROGRAMS / "whitelist.py"), ALICE.pubkey])
READERS = shlex.join([sys.executable, str(PROGRAMS / "readers.py")])
REFUSED = "blocked: not on the white list"


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_plugins_judge_imports_events_and_requests(tmp_path: Path, workers: str) -> None:
    settings = {"plugins.write": WHITELIST, "plugins.read": READERS, "pipeline.workers": workers}
    lines = b"\n".join(map(encode, (ALICE.event("imported"), BOB.event("imported"))))
    imported = await finished(tmp_path, "import", settings=settings, stdin=lines)
    assert imported.stdout.decode().splitlines() == [
        "2 events: 1 stored, 0 known, 0 superseded, 0 ephemeral, 0 gone, 1 refused",
        "  1 refused: not on the white list (line 2)",
    ]
    async with running(tmp_path, settings) as program:
        for number in range(3):
            async with program.client() as client:
                event = BOB.event(f"{number}")
                assert await client.publish(event) == ["OK", event.id, False, REFUSED]
                event = ALICE.event(f"{number}", kind=7)
                assert await client.publish(event) == ["OK", event.id, True, ""]
                assert [event["content"] for event in await client.ask("a", {})] == ["imported"]


async def test_a_relay_whose_plugin_is_not_there_says_so_and_takes_nothing(tmp_path: Path) -> None:
    settings = {"plugins.write": "/does/not/exist", "plugins.timeout_seconds": "0.1"}
    async with running(tmp_path, settings) as program, program.client() as client:
        assert (await client.publish(ALICE.event()))[2:] == [
            False,
            "error: the relay could not judge this; try again later",
        ]
        await program.logs("a plugin is started again")
        await program.logs("a plugin says")
