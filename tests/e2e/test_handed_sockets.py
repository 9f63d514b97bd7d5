"""The real program behind sockets that somebody else has opened, and what it tells of itself."""

from __future__ import annotations

import re
from pathlib import Path
from signal import SIGHUP, SIGTERM

import httpx
import pytest
import trio

from perf.restarts.manager import held, tcp, unix
from tests.support.crew import TWO
from tests.support.keys import ALICE
from tests.support.program import MODULE, PATIENCE, finished, running
from tests.support.service_manager import hearing
from tests.support.wire import Wire

pytestmark = pytest.mark.slow


async def test_it_serves_on_what_it_is_handed_and_leaves_that_open(tmp_path: Path, processes: dict[str, str]) -> None:
    file, four, metrics = tmp_path / "relay.sock", tcp(), tcp()
    at, metrics_at = (f"127.0.0.1:{one.getsockname()[1]}" for one in (four, metrics))
    settings = {"net.listen": f'["unix:{file}", "{at}"]', "metrics.listen": metrics_at, **processes}
    with hearing() as manager, held(metrics, unix(file), four) as sockets:
        command = sockets.command(MODULE, manager.notices)
        async with running(tmp_path, settings, command=command, inherited=sockets.fds) as program:
            await manager.until("READY=1")
            await program.says(f"listening on ws://{at}")
            async with program.client() as client:
                assert (await client.publish(ALICE.event("handed over")))[2:] == [True, ""]
            async with await trio.open_unix_socket(file) as stream:
                with trio.fail_after(PATIENCE):
                    assert (await Wire(stream).ask()).status == 200
            async with httpx.AsyncClient(timeout=PATIENCE) as browser:
                assert (await browser.get(f"http://{metrics_at}/metrics")).status_code == 200
            program.signal(SIGTERM)
            stopping = await manager.until("STOPPING=1")
            assert await program.wait() == 0
        # Nobody is there, and nobody is refused.
        async with await trio.open_tcp_stream(*program.address), await trio.open_unix_socket(file):
            assert file.is_socket()
    assert [line for line in program.log if line["level"] in ("error", "warning")] == []
    assert [notice[0] for notice in manager.notices.heard] == ["READY=1", "STOPPING=1"]
    assert manager.notices.heard[0][1] == f"STATUS=serving on unix:{file}, ws://{at}"
    assert stopping[1:] == ["STATUS=letting clients go, and storing what was accepted", "EXTEND_TIMEOUT_USEC=40000000"]


async def test_the_manager_is_told_of_the_time_that_the_relay_goes_by_when_it_is_stopped(
    tmp_path: Path, processes: dict[str, str]
) -> None:
    (file := tmp_path / "relay.toml").write_text("net.grace_seconds = 5.0")
    with hearing() as manager, held() as sockets:
        command = sockets.command((*MODULE, "--config", file.name), manager.notices)
        async with running(tmp_path, processes, command=command) as program:
            await manager.until("READY=1")
            file.write_text("net.grace_seconds = 100.0")
            program.signal(SIGHUP)
            await manager.until("READY=1")
            program.signal(SIGTERM)
            assert (await manager.until("STOPPING=1"))[-1] == "EXTEND_TIMEOUT_USEC=130000000"
            assert await program.wait() == 0


async def test_a_socket_that_is_in_no_setting_is_refused(tmp_path: Path, processes: dict[str, str]) -> None:
    four = tcp()
    at = f"127.0.0.1:{four.getsockname()[1]}"
    with held(four) as sockets, trio.fail_after(PATIENCE):
        ended = await trio.run_process(
            sockets.command(MODULE, environ={"TRIO_RELAY_NET__LISTEN": '["127.0.0.1:0"]', **_environment(processes)}),
            pass_fds=sockets.fds,
            cwd=tmp_path,
            check=False,
            capture_stdout=True,
            capture_stderr=True,
        )
    assert ended.returncode == 4
    assert ended.stderr.decode().splitlines()[-1] == (
        f"trio-relay: {at} was handed over as 'trio-relay.socket', and no setting has that address: net.listen has"
        " 127.0.0.1:0; metrics.listen has 127.0.0.1:7778. Change one of these, or ListenStream= in the"
        " socket's unit"
    )
    assert not (tmp_path / "data").exists()


def _environment_of(pid: int) -> str:
    return Path(f"/proc/{pid}/environ").read_text()


def _environment(settings: dict[str, str]) -> dict[str, str]:
    return {f"TRIO_RELAY_{key.replace('.', '__').upper()}": value for key, value in settings.items()}


async def test_what_no_manager_says_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "somewhere")
    ended = await finished(tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.decode() == "trio-relay: NOTIFY_SOCKET: 'somewhere' is no path, nor @ and a name\n"


async def test_it_shows_that_it_is_alive(tmp_path: Path, processes: dict[str, str]) -> None:
    with hearing() as manager, held() as sockets:
        command = sockets.command(MODULE, manager.notices, {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "{pid}"})
        async with running(tmp_path, processes, command=command) as program:
            for _ in range(3):
                await manager.until("WATCHDOG=1")
            program.signal(SIGTERM)
            await manager.until("STOPPING=1")
            assert await program.wait() == 0


async def test_who_it_starts_is_told_nothing_of_it(tmp_path: Path) -> None:
    with hearing() as manager, held() as sockets:
        command = sockets.command(MODULE, manager.notices)
        async with running(tmp_path, TWO, command=command) as program:
            workers = [line["pid"] for line in program.log if line["event"] == "worker started"]
            said = list(map(_environment_of, workers))
    assert len(said) == 2
    assert not any(re.search("LISTEN_PID|LISTEN_FDS|NOTIFY_SOCKET", one) for one in said)


async def test_a_hangup_does_not_end_who_waits_for_the_process_before_it(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text("")
    started = [*MODULE, "--config", str(config)]
    async with running(tmp_path, command=started) as before:
        four = tcp()
        at = f"127.0.0.1:{four.getsockname()[1]}"
        with hearing() as manager, held(four) as sockets:
            environ = _environment({"net.listen": f'["{at}"]', "metrics.listen": "127.0.0.1:0"})
            process = await trio.lowlevel.open_process(
                sockets.command(started, manager.notices, environ), pass_fds=sockets.fds, cwd=tmp_path
            )
            try:
                await manager.next()  # it waits
                process.send_signal(SIGHUP)
                before.signal(SIGTERM)
                await manager.until("READY=1")
            finally:
                process.kill()
                await process.wait()
