"""A process that loads a server: `python -m perf.generator` takes a plan on its input, and tells what it counted.

The harness says three lines: the plan, once the server is ready; "go", once it has read the server's CPU; "bye", once
it has seen the server's memory with all connections still open.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from typing import IO, Final

import msgspec

from perf.plan import Counted, Failed, Plan

_OPEN_FILES: Final = 20_000
_FAILED: Final = b"failed "


def main() -> None:
    """The process's side of it."""
    open_many_files()
    try:
        _work(msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan))
    except (Failed, OSError) as error:  # all of the latter come from sockets
        _say(_FAILED + (str(error).splitlines() or [type(error).__name__])[0].encode())
    sys.stdin.buffer.readline()


def _work(plan: Plan) -> None:
    from perf.loads import LOADS  # the harness needs none of what a load does

    work = LOADS[plan.load](plan)
    _say(b"ready")
    if sys.stdin.buffer.readline() != b"go\n":
        return  # the harness is gone
    before = _cpu()
    counted = work()
    _say(msgspec.json.encode(msgspec.structs.replace(counted, cpu=_cpu() - before)))


def open_many_files() -> None:
    """Let this process, and those that it starts, have thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def run(plan: Plan, before: Callable[[], None], after: Callable[[], None]) -> Counted:
    """The harness's side: a generator for this plan, from its start to its end.

    Args:
        plan: names a server that accepts connections.
        before: called when all is prepared, right before the load.
        after: called right after it.

    Raises:
        Failed: the server could not do it.
    """
    command = [sys.executable, "-m", "perf.generator"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            _tell(process.stdin, msgspec.json.encode(plan))
            _hear(process.stdout)
            before()
            _tell(process.stdin, b"go")
            line = _hear(process.stdout)
            after()
            _tell(process.stdin, b"bye")
        except BaseException:
            process.kill()
            raise
        return msgspec.json.decode(line, type=Counted)


def _hear(pipe: IO[bytes]) -> bytes:
    line = pipe.readline()
    if line.startswith(_FAILED):
        raise Failed(line.removeprefix(_FAILED).decode().strip())
    if not line:
        raise Failed("the generator has failed; its traceback is above")
    return line


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _tell(pipe: IO[bytes], line: bytes) -> None:
    pipe.write(line + b"\n")
    pipe.flush()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
