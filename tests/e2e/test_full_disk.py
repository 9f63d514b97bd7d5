"""A disk that takes no more: refused aloud, nothing acknowledged is lost, and well again once there is room."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from signal import SIGTERM

import msgspec
import pytest
import trio

from tests.support.keys import ALICE, BOB, NOW
from tests.support.program import PATIENCE, launcher, running
from tests.support.program_load import everything, publish_all
from tests.support.server import Talker
from trio_relay import Event

pytestmark = pytest.mark.slow

_LIMIT = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
"""No file may grow past a megabyte, which to the program is a disk without room."""
_FEW = {"net.max_connections": "1000", "rates.enabled": "false"}
_SMALL = """
import trio_relay.workers.serving as serving
assert serving.WORDS > 0 and serving.LEAST_PLACES > 0
serving.WORDS = serving.LEAST_PLACES = 0
"""
"""For several processes: what they share is in memory, to which the limit applies as well. It has room for rates and
for more connections, which may be let in while the relay runs."""
_EAGER = (
    "import trio_relay.store.sqlite.store as store\n"
    "assert store.PAGES_BEFORE_WAITING > 0\n"
    "store.PAGES_BEFORE_WAITING = 0\n"
)
"""After each commit, the writer waits for the log to be folded back, as it does once the log is huge."""


async def _fill(client: Talker) -> tuple[list[Event], Event, str]:
    """Publish until the relay refuses: what it acknowledged, what it refused, and why."""
    acknowledged: list[Event] = []
    for number in count():
        event = ALICE.event("x" * 20_000, created_at=NOW - number)
        _, event_id, accepted, reason = await client.publish(event)
        assert event_id == event.id
        if not accepted:
            return acknowledged, event, reason
        acknowledged.append(event)
    raise AssertionError


async def test_a_full_disk_refuses_aloud_and_loses_nothing_that_was_acknowledged(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    async with (
        running(tmp_path, {**_FEW, **processes}, command=launcher(_LIMIT + _SMALL)) as program,
        program.client() as client,
    ):
        assert (await program.get("/health")).json() == {"status": "ok"}
        acknowledged, refused, reason = await _fill(client)
        assert reason.startswith("error: the relay's ")
        health = await program.get("/health")
        with trio.fail_after(PATIENCE):
            while health.status_code == 200:  # several processes tell for a second what was found last
                await trio.sleep(0.05)
                health = await program.get("/health")
        assert (health.status_code, health.json()) == (503, {"status": "failing", "reason": reason[len("error: ") :]})
        assert await client.publish(refused) == ["OK", refused.id, False, reason]
        kept = [msgspec.to_builtins(event) for event in acknowledged]
        assert await everything(client) == kept
        assert program.process.returncode is None
    async with running(tmp_path, processes) as again, again.client() as client:
        assert await everything(client) == kept
        assert (await again.get("/health")).status_code == 200
        assert await client.publish(refused) == ["OK", refused.id, True, ""]


async def test_a_log_that_cannot_be_folded_back_costs_neither_an_event_nor_the_stop(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    old = [BOB.event("y" * 100_000, created_at=NOW + number) for number in range(20)]
    async with running(tmp_path) as program:
        async with program.client() as client:
            answers = await publish_all(client, old)
        assert set(answers.values()) == {(True, "")}
        program.signal(SIGTERM)
        assert await program.wait() == 0
    async with running(tmp_path, {**_FEW, **processes}, command=launcher(_LIMIT + _SMALL + _EAGER)) as program:
        async with program.client() as client:
            acknowledged, _, _ = await _fill(client)
        program.signal(SIGTERM)
        code = await program.wait()
    async with running(tmp_path) as again, again.client() as client:
        found = await everything(client)
    assert found == [msgspec.to_builtins(event) for event in [*reversed(old), *acknowledged]]
    assert (code, program.out.splitlines()[-1]) == (0, "stopped")
