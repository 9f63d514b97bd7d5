"""SIGTERM to one worker, and to all processes at once, as service managers send it."""

from __future__ import annotations

import os
from pathlib import Path
from signal import SIGTERM

import pytest
from trio_websocket import ConnectionClosed

from tests.support.crew import TWO, all_gone, client_of, everybody, figures, pids, successor
from tests.support.keys import ALICE
from tests.support.program import running
from tests.support.server import Talker

pytestmark = pytest.mark.slow

_STOPPING = (1012, "the relay is stopping")


async def farewell(client: Talker) -> tuple[int, str | None]:
    """How the relay closes the connection."""
    with pytest.raises(ConnectionClosed) as closed:
        await client.receive()
    reason = closed.value.reason
    assert reason is not None
    return reason.code, reason.reason


async def test_a_worker_that_is_asked_to_end_drains_and_is_started_again(tmp_path: Path) -> None:
    note = ALICE.event("a note")
    async with running(tmp_path, TWO) as program, client_of(program, 1) as stays:
        async with client_of(program, 2) as goes:
            assert await goes.publish(note) == ["OK", note.id, True, ""]
            ended = pids(program)[2]
            os.kill(ended, SIGTERM)
            assert await farewell(goes) == _STOPPING
        await successor(program, 2, ended)
        async with client_of(program, 2) as again:
            assert [event["id"] for event in await again.ask("a", {})] == [note.id]
        assert [event["id"] for event in await stays.ask("a", {})] == [note.id]
        seen = await figures(program)
        program.signal(SIGTERM)
        assert await farewell(stays) == _STOPPING
        assert await program.wait() == 0
    assert (seen["trio_relay_workers"], seen["trio_relay_workers_crashed_total"]) == (2, 0)
    assert seen['trio_relay_worker_restarts_total{worker="2"}'] == 1
    [line] = [line for line in program.log if line["event"] == "worker has ended" and line["pid"] == ended]
    assert (line["level"], line["worker"], line["exit_code"]) == ("info", 2, 0)
    assert [line for line in program.log if line["event"] == "stopping" and line.get("worker") == 2] != []


async def test_all_that_are_asked_at_once_end_well_and_nobody_is_started_again(tmp_path: Path) -> None:
    async with running(tmp_path, TWO) as program, client_of(program, 1) as one, client_of(program, 2) as other:
        processes = everybody(program)
        for pid in processes:
            os.kill(pid, SIGTERM)
        assert [await farewell(client) for client in (one, other)] == [_STOPPING] * 2
        assert await program.wait() == 0
        await all_gone(processes)
    assert program.out.splitlines()[-1] == "stopped"
    assert everybody(program) == processes
    assert [line for line in program.log if line["event"] == "worker started"][2:] == []
    assert {line["level"] for line in program.log} == {"info"}


async def test_workers_that_are_asked_first_end_well_too(tmp_path: Path) -> None:
    """Nobody promises an order."""
    async with running(tmp_path, TWO) as program, client_of(program, 1) as one, client_of(program, 2) as other:
        keeper, *workers = everybody(program)
        for pid in (*workers, keeper):
            os.kill(pid, SIGTERM)
        assert [await farewell(client) for client in (one, other)] == [_STOPPING] * 2
        assert await program.wait() == 0
    assert program.out.splitlines()[-1] == "stopped"
    assert everybody(program) == [keeper, *workers]
