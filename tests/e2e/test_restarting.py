"""The real program restarted under load, behind a socket that stays open: all is kept, and nobody is refused."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from perf.restarts import load, run
from perf.restarts.manager import held, tcp
from tests.support.crew import MOMENT
from tests.support.keys import ALICE
from tests.support.program import MODULE, PATIENCE, Program, environment, running
from tests.support.service_manager import hearing

pytestmark = pytest.mark.slow

A_FEW = 3
MANY = 50


@pytest.mark.parametrize("is_overlapping", [False, True], ids=["one after the other", "overlapping"])
async def test_restarts_under_load_lose_nothing_and_refuse_nobody(
    tmp_path: Path, processes: dict[str, str], is_overlapping: bool
) -> None:
    await _restarts(tmp_path, A_FEW, processes, is_overlapping=is_overlapping)


@pytest.mark.exhaustive
@pytest.mark.parametrize("is_overlapping", [False, True], ids=["one after the other", "overlapping"])
async def test_fifty_restarts_do_so_too(tmp_path: Path, processes: dict[str, str], is_overlapping: bool) -> None:
    await _restarts(tmp_path, MANY, processes, is_overlapping=is_overlapping)


async def _restarts(folder: Path, count: int, settings: dict[str, str], *, is_overlapping: bool) -> None:
    outcome = await run.restarted(folder, count, settings=settings, is_overlapping=is_overlapping)
    assert outcome.codes == [0] * (count + 1), (folder / "relay.log").read_text()
    assert outcome.lost == set()
    assert dict(outcome.tally.faults) == {}
    assert outcome.tally.acknowledged
    assert len(outcome.restarts) == count
    assert min(outcome.longest_waits()) > 0  # somebody came during each of them


async def test_who_is_refused_is_a_fault() -> None:
    """Else the tests above would prove nothing."""
    at = tcp()
    port: int = at.getsockname()[1]
    at.close()
    clients = load.Clients(port, [ALICE.event(str(number)) for number in range(40)])
    async with trio.open_nursery() as busy:
        busy.start_soon(clients.run)
        with trio.fail_after(PATIENCE):
            while not clients.tally.faults:  # noqa: ASYNC110  # nobody tells
                await trio.sleep(MOMENT)
        busy.cancel_scope.cancel()
    assert all("nobody listens" in fault and "Connection refused" in fault for fault in clients.tally.faults)


async def test_the_next_process_is_refused_the_store_at_once_where_nothing_was_handed_over(tmp_path: Path) -> None:
    async with running(tmp_path) as first:
        ended = await trio.run_process(
            list(MODULE), cwd=tmp_path, env=environment(), check=False, capture_stderr=True, capture_stdout=True
        )
    assert ended.returncode == 3
    assert f"is in use by the process with pid {first.process.pid}" in ended.stderr.decode()


async def test_a_process_that_waits_for_the_store_says_so_and_ends_when_it_is_asked_to(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    four = tcp()
    at = f"127.0.0.1:{four.getsockname()[1]}"
    settings = {**processes, "net.listen": f'["{at}"]'}
    with hearing() as manager, held(four) as sockets:
        command = sockets.command(MODULE, manager.notices)
        async with running(tmp_path, settings, command=command, inherited=sockets.fds) as first:
            await manager.until("READY=1")
            async with trio.open_nursery() as nursery:
                start = partial(
                    trio.run_process, command, cwd=tmp_path, env=environment(settings), pass_fds=sockets.fds
                )
                second: trio.Process = await nursery.start(partial(start, check=False, capture_stderr=True))
                waiting = await manager.until("EXTEND_TIMEOUT_USEC=40000000")
                async with first.client() as client:  # the first one goes on meanwhile
                    assert (await client.publish(ALICE.event("meanwhile")))[2:] == [True, ""]
                second.send_signal(signal.SIGTERM)
                with trio.fail_after(PATIENCE):
                    assert await second.wait() == 0
    assert waiting[0] == f"STATUS=waiting: data/relay.db is in use by the process with pid {first.process.pid}"


async def test_systemd_s_own_program_hands_its_sockets_over(tmp_path: Path, processes: dict[str, str]) -> None:
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        pytest.skip("systemd-socket-activate is not there")
    four = tcp()
    at = f"127.0.0.1:{four.getsockname()[1]}"
    four.close()
    file = tmp_path / "relay.sock"
    settings = {**processes, "net.listen": f'["{at}", "unix:{file}"]'}
    variables = [f"--setenv={name}" for name in environment(settings) if name.startswith("TRIO_RELAY_")]
    command = [activate, f"--listen={at}", f"--listen={file}", *variables, *_found(), *MODULE]
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(partial(start, cwd=tmp_path, env=environment(settings)))
        with trio.fail_after(PATIENCE):
            while not file.is_socket():  # noqa: ASYNC110  # nobody tells
                await trio.sleep(MOMENT)
            host, _, port = at.rpartition(":")
            waiting = await trio.open_tcp_stream(host, int(port))  # the first one has it start the relay
        program = Program(process)
        nursery.start_soon(program.listen)
        await program.says(f"listening on ws://{at}")
        await waiting.aclose()
        async with program.client() as client:
            assert (await client.publish(ALICE.event("by systemd")))[2:] == [True, ""]
        await program.says(f"listening on unix:{file}")
        program.signal(signal.SIGTERM)
        assert await program.wait() == 0
    assert file.is_socket()


def _found() -> list[str]:
    return [f"--setenv={name}" for name in ("PATH", "PYTHONPATH", "HOME") if name in os.environ]
