"""A node that answers nothing for a while, and one that takes no writes: the relay says so, and goes on by itself."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from perf.node import Node
from tests.opensearch.load import Load, health, refusal, relay_on, stored
from tests.support.keys import ALICE, NOW
from tests.support.program import PATIENCE

pytestmark = pytest.mark.slow

LATE = "error: the query took more than 1 seconds (query_seconds)"
SLOW = "the relay's store takes too long"
BLOCKED = "the relay's store takes no writes now"
NOTE = ALICE.event("a fox", created_at=NOW)


@contextmanager
def paused(node: Node) -> Iterator[None]:
    """The node does nothing in this context."""
    node.pause()
    try:
        # Of many threads on a busy machine some go on for a moment, long enough to answer.
        deadline = time.monotonic() + PATIENCE
        while not _stands_still(node.pid):
            assert time.monotonic() < deadline
            os.sched_yield()
        yield
    finally:
        node.resume()


def _stands_still(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)


@contextmanager
def blocked(node: Node, prefix: str) -> Iterator[None]:
    """The index takes no writes in this context, as when the disk is nearly full."""
    _block(node, prefix, True)
    try:
        yield
    finally:
        _block(node, prefix, None)


def _block(node: Node, prefix: str, is_blocked: bool | None) -> None:
    settings = {"index.blocks.read_only_allow_delete": is_blocked}
    httpx.put(f"{node.url}/{prefix}-events/_settings", json=settings, timeout=PATIENCE).raise_for_status()


async def test_while_a_node_is_slow_requests_end_with_the_reason_and_writes_are_tried_again(
    mortal: Node, mortal_prefix: str, tmp_path: Path
) -> None:
    patient = {"request_seconds": "0.5", "retry_seconds": f"{PATIENCE}"}
    async with relay_on(mortal.url, mortal_prefix, tmp_path, **patient) as program:
        load = Load(program)
        async with program.client() as client, load.under_way("alice", "bob"):
            await load.more(100, accepted=True)
            with paused(mortal):
                assert SLOW in await health(program, 503)
                assert await refusal(client, "REQ", "all", {"kinds": [1]}) in (LATE, f"error: {SLOW}")
                assert await refusal(client, "REQ", "words", {"search": "fox"}) in (LATE, f"error: {SLOW}")
                assert await refusal(client, "COUNT", "number", {"kinds": [1]}) in (LATE, f"error: {SLOW}")
            await load.more(100, accepted=True)
            await health(program, 200)
        assert set(load.answers.values()) == {(True, "")}
        assert sorted(load.heard) == sorted(load.sent)
        assert stored(mortal.url, mortal_prefix) == len(load.sent)


async def test_a_query_that_takes_too_long_ends_when_its_time_is_up(
    mortal: Node, mortal_prefix: str, tmp_path: Path
) -> None:
    async with relay_on(mortal.url, mortal_prefix, tmp_path) as program, program.client() as client:
        assert await client.publish(NOTE) == ["OK", NOTE.id, True, ""]
        with paused(mortal):
            began = trio.current_time()
            assert await refusal(client, "REQ", "all", {"kinds": [1]}) == LATE
            assert await refusal(client, "COUNT", "number", {"kinds": [1]}) == LATE
            assert 2.0 <= trio.current_time() - began < PATIENCE
        with trio.fail_after(PATIENCE):
            assert [event["id"] for event in await client.ask("all", {"kinds": [1]})] == [NOTE.id]


async def test_an_index_that_takes_no_writes_is_reported_and_used_again_when_it_does(
    mortal: Node, mortal_prefix: str, tmp_path: Path
) -> None:
    async with (
        relay_on(mortal.url, mortal_prefix, tmp_path, retry_seconds="0.5") as program,
        program.client() as client,
    ):
        assert await health(program, 200)
        with blocked(mortal, mortal_prefix):
            assert await client.publish(NOTE) == ["OK", NOTE.id, False, f"error: {BLOCKED}"]
            await health(program, 503)
            assert await client.ask("all", {"kinds": [1]}) == []
            await client.send("CLOSE", "all")
        # Nobody publishes: it finds out by itself.
        await health(program, 200)
        assert await client.publish(NOTE) == ["OK", NOTE.id, True, ""]
        assert [event["id"] for event in await client.ask("all", {"kinds": [1]})] == [NOTE.id]


async def test_a_write_waits_for_the_block_to_go(mortal: Node, mortal_prefix: str, tmp_path: Path) -> None:
    async with (
        relay_on(mortal.url, mortal_prefix, tmp_path, retry_seconds=f"{PATIENCE}") as program,
        program.client() as client,
    ):
        with blocked(mortal, mortal_prefix):
            await client.send("EVENT", NOTE)
            assert BLOCKED in await health(program, 503)
        assert await client.receive() == ["OK", NOTE.id, True, ""]
        await health(program, 200)
