"""Ctrl-C where there are workers: a terminal sends SIGINT to all processes at once, and one of them is meant."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from signal import SIGINT

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.support.crew import TWO, all_gone, everybody, pids
from tests.support.keys import ALICE
from tests.support.program import MODULE, Program, environment
from tests.support.wire import Wire

pytestmark = pytest.mark.slow


@asynccontextmanager
async def in_a_terminal(folder: Path, **settings: str) -> AsyncIterator[Program]:
    """The program with two workers in a process group of its own; it may still be starting."""
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            MODULE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment({**TWO, **settings}),
            check=False,
            start_new_session=True,
        )
        program = Program(await nursery.start(start))
        nursery.start_soon(program.listen)
        yield program
        program.process.kill()


def ctrl_c(program: Program) -> None:
    os.killpg(program.process.pid, SIGINT)


async def test_it_stops_all_as_one_process_stops(tmp_path: Path) -> None:
    note = ALICE.event("a note")
    async with in_a_terminal(tmp_path) as program:
        await program.says("listening on ")
        processes = everybody(program)
        async with program.client() as client:
            assert await client.publish(note) == ["OK", note.id, True, ""]
            ctrl_c(program)
            with pytest.raises(ConnectionClosed) as closed:
                await client.receive()
        assert await program.wait() == 0
        await all_gone(processes)
    assert closed.value.reason is not None
    assert closed.value.reason.code == 1012
    assert everybody(program) == processes
    assert {line["level"] for line in program.log} == {"info"}


async def test_a_second_one_stops_all_at_once(tmp_path: Path) -> None:
    async with in_a_terminal(tmp_path, **{"net.grace_seconds": "3600", "net.close_seconds": "3600"}) as program:
        await program.says("listening on ")
        processes = everybody(program)
        async with await trio.open_tcp_stream(*program.address) as stream:
            await Wire(stream).open()  # and does not answer the frame that closes it
            ctrl_c(program)
            await program.logs("listeners closed")
            ctrl_c(program)
            assert await program.wait() == 130
        await all_gone(processes)


async def test_during_the_start_it_ends_the_start(tmp_path: Path) -> None:
    """Workers that still import hear it no more than others."""
    async with in_a_terminal(tmp_path) as program:
        await program.until(lambda _: len(pids(program)) == 2)
        processes = everybody(program)
        ctrl_c(program)
        assert await program.wait() == 0
        await all_gone(processes)
    assert "listening on" not in program.out
    assert {line["level"] for line in program.log} == {"info"}
