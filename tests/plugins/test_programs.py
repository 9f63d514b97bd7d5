"""Real programs: plugins as strfry's documentation describes them, and how processes start and end."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support.keys import ALICE, BOB, NOW
from tests.support.pipeline import Replies
from tests.support.program import PATIENCE
from trio_relay import MemoryStore, PluginOptions, Source, open_judges, open_relay, plugins
from trio_relay.plugins import NO_JUDGES, ProgramRun

PROGRAMS = Path(__file__).parent / "programs"
WORDS = {
    "python": [sys.executable, str(PROGRAMS / "whitelist.py")],
    "shell": ["sh", str(PROGRAMS / "whitelist.sh")],
    "javascript": ["node", str(PROGRAMS / "whitelist.js")],
}
REFUSED = "blocked: not on the white list"


@asynccontextmanager
async def running(*words: str) -> AsyncIterator[ProgramRun]:
    """A process that is killed at the end."""
    program = ProgramRun(words)
    with trio.fail_after(PATIENCE):
        async with program.stdin, program.stdout, program.stderr:
            try:
                yield program
            finally:
                program.kill()
                with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
                    await program.wait()


async def line(program: ProgramRun) -> str:
    """The next line that it writes, if it writes one at a time."""
    data = b""
    while not data.endswith(b"\n"):
        data += (more := await program.stdout.receive_some())
        assert more, data
    return data.decode().strip()


@pytest.mark.slow
@pytest.mark.parametrize("language", WORDS)
async def test_a_plugin_of_strfry_s_protocol_decides_here(language: str) -> None:
    """Twenty events at once, of which it reads one after the other."""
    words = WORDS[language]
    if shutil.which(words[0]) is None:
        pytest.skip(f"needs {words[0]}")
    options = PluginOptions(write=(*words, ALICE.pubkey), processes=1)
    replies = Replies()
    events = [author.event(str(number)) for number in range(10) for author in (ALICE, BOB)]
    with trio.fail_after(PATIENCE):
        async with (
            open_judges(options, NO_JUDGES, lambda: NOW) as judges,
            open_relay(MemoryStore(), clock=lambda: NOW, judges=judges) as relay,
        ):
            await relay.publish(replies.batch(*events))
    assert replies.accepted == {event.id for event in events if event.pubkey == ALICE.pubkey}
    assert {reason for _, accepted, reason in replies.heard if not accepted} == {REFUSED}


@pytest.mark.slow
async def test_a_program_that_changes_is_asked_anew(tmp_path: Path) -> None:
    script = tmp_path / "policy.sh"

    def write(action: str) -> None:
        script.write_text(f"""while read -r line; do
            id=$(printf '%s\\n' "$line" | sed 's/.*"event":{{"id":"\\([0-9a-f]*\\)".*/\\1/')
            echo '{{"id":"'"$id"'","action":"{action}"}}'
        done""")

    write("accept")
    with trio.fail_after(PATIENCE):
        async with open_judges(PluginOptions(write=f"sh '{script}'")) as judges:
            assert judges.events is not None
            first = await judges.events.judge_event(ALICE.event("1"), Source())
            write("reject")
            while (second := await judges.events.judge_event(ALICE.event("1"), Source())) == first:  # noqa: ASYNC110
                await trio.sleep(0.05)
    assert [first.action.value, second.action.value] == ["accept", "reject"]


async def test_a_program_that_is_not_there_says_so() -> None:
    async with running("/does/not/exist") as program:
        said = await program.stderr.receive_some()
        assert b"cannot be started: [Errno 2]" in said
        assert await program.wait() == 1


def _ignored_before_python() -> int:
    """What whoever started these tests has ignored, as nohup does; Python adds SIGPIPE and SIGXFSZ."""
    [ignored] = [text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("SigIgn:")]
    own = sum(1 << (number - 1) for number in (signal.SIGPIPE, signal.SIGXFSZ))
    return int(ignored.split()[1], 16) & ~own


async def test_a_program_begins_with_signals_as_usual() -> None:
    """Python ignores SIGPIPE, and workers block SIGINT: neither is what a program expects."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        async with running("sh", "-c", "grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t'; echo") as program:
            assert await line(program) == f"SigBlk:{0:016x}SigIgn:{_ignored_before_python():016x}"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


async def test_what_a_program_has_started_ends_with_it() -> None:
    async with running("sh", "-c", "sleep 1000 & echo $!") as program:
        left = int(await line(program))
        assert await program.wait() == 0
        await is_gone(left)


async def test_a_program_that_ignores_being_asked_to_end_is_killed() -> None:
    async with running("sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done") as program:
        assert await line(program) == "ready"
        program.terminate()
        program.kill()
        assert await program.wait() == -signal.SIGKILL
        program.terminate()  # nobody is hit who may have its number by now


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a program sees the end of its input")
async def test_no_program_outlives_a_relay_that_was_killed() -> None:
    folder = Path(plugins.__file__).parent  # the module alone: all of the relay takes a while to load
    starting = f"""
import sys, time
sys.path.append({str(folder)!r})
from program import ProgramRun
print(ProgramRun(["sleep", "1000"]).pid, flush=True)
time.sleep({PATIENCE})
"""
    with trio.fail_after(PATIENCE):
        relay = await trio.lowlevel.open_process([sys.executable, "-c", starting], stdout=subprocess.PIPE)
        assert relay.stdout is not None
        pid = int(await relay.stdout.receive_some())
        await is_named(pid, "sleep")
        relay.kill()
        await relay.wait()
        await relay.stdout.aclose()
        await is_gone(pid)


async def is_named(pid: int, name: str) -> None:
    """Wait until a process is this program."""
    while told(pid, "comm") != name:  # noqa: ASYNC110  # nobody else tells
        await trio.sleep(0.01)


async def is_gone(pid: int) -> None:
    """Wait until a process has ended; somebody else may have to wait for it."""
    while told(pid, "stat").rpartition(")")[2].split()[:1] not in ([], ["Z"]):  # noqa: ASYNC110
        await trio.sleep(0.01)


def told(pid: int, what: str) -> str:
    """What the system tells of a process; nothing, if there is none."""
    try:
        return Path(f"/proc/{pid}/{what}").read_text().strip()
    except OSError:
        return ""
