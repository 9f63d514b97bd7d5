"""The real program with few file descriptors, and what is left of a Unix socket when it stops or is killed."""

from __future__ import annotations

import os
import re
from contextlib import AsyncExitStack
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest
import trio

from tests.support.keys import ALICE
from tests.support.program import launcher, running
from tests.support.wire import Wire, connected

pytestmark = pytest.mark.slow

FILES = 64
FEW = launcher(f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({FILES}, {FILES}))")
FAILED = re.compile(r'^trio_relay_accepts_failed_total\{error="EMFILE"\} (\d+)', re.MULTILINE)


async def test_out_of_descriptors_it_says_so_once_and_accepts_again(tmp_path: Path, processes: dict[str, str]) -> None:
    async with running(tmp_path, processes, command=FEW) as program, connected(metrics_address(program.out)) as page:
        async with AsyncExitStack() as crowd:
            for _ in range(2 * FILES):
                await crowd.enter_async_context(connected(program.address))
            told = await program.logs("connections not accepted")
            assert (told["level"], told["errors"]) == ("error", {"EMFILE": 1})
            with trio.fail_after(30):
                while await failures(page) < 10:  # noqa: ASYNC110  # a process of its own tells us nothing by itself
                    await trio.sleep(0.05)
        async with program.client() as client:
            note = ALICE.event("there is room again")
            assert await client.publish(note) == ["OK", note.id, True, ""]
            assert [found["id"] for found in await client.ask("a", {})] == [note.id]
        program.signal(SIGTERM)
        assert await program.wait() == 0
    failed = [line for line in program.log if line["event"] == "connections not accepted"]  # all of them JSON
    workers = [line.get("worker") for line in failed]
    assert len(workers) == len(set(workers)) <= int(processes.get("pipeline.workers", 1))
    assert "Traceback" not in program.err


async def failures(page: Wire) -> int:
    """How often it could not accept a connection, asked on a connection that it has accepted before."""
    reply = await page.ask(target="/metrics")
    found = FAILED.search(reply.body.decode())
    return 0 if found is None else int(found[1])


def metrics_address(out: str) -> tuple[str, int]:
    found = re.search(r"http://(.+):(\d+)/metrics", out)
    assert found is not None, out
    return found[1], int(found[2])


async def test_a_killed_relay_s_socket_is_replaced_and_a_stopped_one_s_is_gone(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    settings = {**processes, "net.listen": '["unix:relay.sock"]', "metrics.listen": "unix:metrics.sock"}
    async with running(tmp_path, settings) as program:
        assert "listening on unix:relay.sock\n" in program.out
        assert "unix:metrics.sock" in program.out
        program.signal(SIGKILL)
        assert await program.wait() == -SIGKILL
    assert {"relay.sock", "metrics.sock"} <= set(os.listdir(tmp_path))
    async with running(tmp_path, settings) as program:
        for name, target in (("relay.sock", "/"), ("metrics.sock", "/metrics")):
            async with await trio.open_unix_socket(tmp_path / name) as stream:
                assert (await Wire(stream).ask(target=target)).status == 200
        program.signal(SIGTERM)
        assert await program.wait() == 0
    assert not {"relay.sock", "metrics.sock"} & set(os.listdir(tmp_path))
