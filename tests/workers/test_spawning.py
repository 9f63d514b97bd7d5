"""How workers are started: the code that they run, what they inherit, and what they hear."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_relay
from tests.support.program import PATIENCE
from trio_relay.workers import Child, command, environment, spawn, spawning, start_process

PACKAGE = Path(trio_relay.__file__).parent


async def said(child: Child, link: socket.socket) -> str:
    """All that a child writes to its link until it ends, without an error."""
    stream = trio.SocketStream(trio.socket.from_stdlib_socket(link))
    with trio.fail_after(PATIENCE):
        async with stream:
            told = b"".join([bytes(part) async for part in stream])
        assert await child.wait() == 0
    return told.decode()


async def answer_of(code: str, *also: int) -> str:
    """What some lines of Python write to the link, run as a worker is."""
    near, far = socket.socketpair()
    with far:
        arguments = [sys.executable, "-I", "-S", "-c", f"import os, signal, sys; link = int(sys.argv[1])\n{code}"]
        child = await start_process([*arguments, str(far.fileno())], os.environ, [far.fileno(), *also])
    return await said(child, near)


def test_the_command_is_the_same_python_and_looks_for_nothing_in_the_current_folder() -> None:
    assert command(2, 7) == [sys.executable, "-P", "-m", "trio_relay.workers.worker", "2", "7"]


async def test_a_worker_gets_its_number_its_link_and_what_was_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = "import os, sys; os.write(int(sys.argv[2]), ascii(sys.argv[1:]).encode())"
    monkeypatch.setattr(spawning, "command", lambda *numbers: [sys.executable, "-c", told, *map(str, numbers)])
    near, far = socket.socketpair()
    with far:
        number = far.fileno()
        child = await spawn(3, far)
    assert await said(child, near) == f"['3', '{number}']"


async def test_it_has_its_own_files_and_no_others() -> None:
    with socket.socket() as passed, socket.socket() as inheritable:
        inheritable.set_inheritable(True)
        found = await answer_of(
            "held = [int(name) for name in os.listdir('/proc/self/fd') if os.path.exists('/dev/fd/' + name)]\n"
            "os.write(link, repr((link, sorted(held))).encode())",
            passed.fileno(),
        )
        link, held = eval(found)
        assert held == sorted([0, 1, 2, link, passed.fileno()])


async def test_its_input_is_empty_and_what_it_prints_is_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    assert (
        await answer_of("print('oh'); print('no', file=sys.stderr); os.write(link, ascii(os.read(0, 9)).encode())")
        == "b''"
    )
    out, err = capfd.readouterr()
    assert out == ""
    assert sorted(err.split()) == ["no", "oh"]


async def test_it_hears_no_ctrl_c_from_its_first_moment_on() -> None:
    answer = await answer_of(
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "os.write(link, ' '.join(sorted(it.name for it in blocked)).encode())"
    )
    assert answer == "SIGINT"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert signal.SIGINT not in await trio.to_thread.run_sync(signal.pthread_sigmask, signal.SIG_BLOCK, [])


async def test_it_is_in_our_group_so_that_job_control_takes_it_along() -> None:
    assert await answer_of("os.write(link, b'%d' % os.getpgid(0))") == str(os.getpgid(0))


async def test_its_end_can_be_waited_for_again() -> None:
    child = await start_process([sys.executable, "-I", "-S", "-c", "raise SystemExit(3)"], os.environ, [])
    with trio.fail_after(PATIENCE):
        assert [await child.wait(), await child.wait()] == [3, 3]
    child.kill()
    child.terminate()


async def test_a_wait_can_be_given_up() -> None:
    child = await start_process([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"], os.environ, [])
    with trio.move_on_after(0.001):
        await child.wait()
    child.terminate()
    with trio.fail_after(PATIENCE):
        assert await child.wait() == -signal.SIGTERM


async def test_one_whose_start_is_cancelled_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is handed over, and the next wait ends by the cancellation."""
    really, scope = subprocess.Popen, trio.CancelScope()

    def start_late(*arguments: Any, **settings: Any) -> subprocess.Popen[bytes]:
        trio.from_thread.run_sync(scope.cancel)
        return really(*arguments, **settings)

    monkeypatch.setattr(subprocess, "Popen", start_late)
    with scope:
        child = await start_process([sys.executable, "-I", "-S", "-c", ""], os.environ, [])
        await child.wait()
    assert scope.cancelled_caught
    with trio.fail_after(PATIENCE):
        assert await child.wait() == 0


async def test_a_program_that_is_not_there_is_refused() -> None:
    with pytest.raises(FileNotFoundError):
        await start_process(["/nowhere/python"], os.environ, [])


def test_the_environment_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert environment({"PYTHONPATH": "/a:/b", "X": "y"}) == {"PYTHONPATH": "/a:/b", "X": "y"}


@pytest.mark.parametrize(
    ("before", "after"), [({}, "{home}"), ({"PYTHONPATH": ""}, "{home}"), ({"PYTHONPATH": "/a"}, "{home}:/a")]
)
def test_code_from_the_current_folder_is_named(
    before: dict[str, str], after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = PACKAGE.resolve().parent
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.chdir(home)
    assert environment(before) == {"PYTHONPATH": after.format(home=home)}


PARENT = """
import os, socket, sys, trio, trio_relay
from trio_relay.workers import environment, start_process
async def main():
    tell = "from importlib.util import find_spec; print(find_spec('trio_relay').origin)"
    child = await start_process([sys.executable, "-P", "-c", tell], environment(os.environ), [])
    assert await child.wait() == 0
print(trio_relay.__file__, file=sys.stderr, flush=True)
trio.run(main)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "found_by",
    [
        "current folder",
        pytest.param("PYTHONPATH", marks=pytest.mark.exhaustive),
        pytest.param("installation", marks=pytest.mark.exhaustive),
    ],
)
async def test_a_worker_runs_the_code_of_its_parent(found_by: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy / "trio_relay")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    if found_by != "current folder":  # where it must not be taken from
        (elsewhere / "trio_relay.py").write_text("")
    cwd = copy if found_by == "current folder" else elsewhere
    variables = {**os.environ, "PYTHONPATH": str(copy) if found_by == "PYTHONPATH" else ""}
    flags = [] if found_by == "current folder" else ["-P"]
    with trio.fail_after(PATIENCE):
        ended = await trio.run_process(
            [sys.executable, *flags, "-c", PARENT], cwd=cwd, env=variables, capture_stderr=True
        )
    parents, childs = ended.stderr.decode().split()
    assert childs == parents
    assert Path(parents).is_relative_to(copy) is (found_by != "installation")
