"""The program as several processes: who is who, and clients of a worker that the test chooses.

Whichever worker accepts a connection has it, and the kernel knows which process that is.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import httpx
import trio
import trio_websocket

from perf.soak.weather import standing_still
from tests.support.program import PATIENCE, Program
from tests.support.server import Talker

TWO: Final = {"pipeline.workers": "2"}
"""Settings of a program of two workers."""
MOMENT: Final = 0.02
"""Seconds between two looks at what tells nobody when it changes."""
_LOOK_SECONDS: Final = 0.002
_PATIENCE_FOR_IT: Final = 0.3
"""Seconds for which all but one stand still."""
_NOT_ACCEPTED: Final = "0"


def pids(program: Program) -> dict[int, int]:
    """The latest process of each worker, by the worker's number."""
    return {line["worker"]: line["pid"] for line in program.log if line["event"] == "worker started"}


def everybody(program: Program) -> list[int]:
    """The pids of all processes, the keeper's first."""
    return [program.process.pid, *pids(program).values()]


async def successor(program: Program, number: int, pid: int) -> int:
    """Wait until a worker has another process than this one, and give that."""
    await program.until(lambda _: pids(program)[number] != pid)
    return pids(program)[number]


def is_alive(pid: int) -> bool:
    """Whether there is such a process; one that has ended and was not waited for is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


async def all_gone(processes: list[int]) -> None:
    """Wait until none of these is there; what is left after that is killed, and fails the test."""
    try:
        with trio.fail_after(PATIENCE):
            while any(map(is_alive, processes)):  # noqa: ASYNC110  # no children of ours: nobody tells
                await trio.sleep(MOMENT)
    finally:
        for pid in filter(is_alive, processes):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def figures(program: Program) -> dict[str, float]:
    """The samples of its metrics, by their names with their labels."""
    found = re.search(r"http://\S+/metrics", program.out)
    assert found is not None, program.out
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        lines = (await client.get(found[0])).text.splitlines()
    return {name: float(value) for line in lines if line[0] != "#" for name, _, value in [line.rpartition(" ")]}


@asynccontextmanager
async def client_of(program: Program, number: int, *, local_address: str | None = None) -> AsyncIterator[Talker]:
    """A WebSocket client that is connected to this worker."""
    with trio.fail_after(PATIENCE):
        stream = await stream_to(program, number, local_address=local_address)
    async with stream, trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            connection = await trio_websocket.wrap_client_stream(nursery, stream, "relay.localhost", "/")
        yield Talker(connection)
        nursery.cancel_scope.cancel()


async def stream_to(program: Program, number: int, *, local_address: str | None = None) -> trio.SocketStream:
    """A connection that this worker has accepted; the worker may still have to be started.

    All accept from one socket, so the others have to stand still for that moment.
    """
    while True:
        async with program.turn:
            with suppress(OSError), standing_still(pid for worker, pid in pids(program).items() if worker != number):
                stream = await trio.open_tcp_stream(*program.address, local_address=local_address)
                with trio.move_on_after(_PATIENCE_FOR_IT):
                    while (inode := _server_end_of(stream)) == _NOT_ACCEPTED:  # noqa: ASYNC110  # the kernel knows
                        await trio.sleep(_LOOK_SECONDS)
                    if _has(pids(program)[number], inode):
                        return stream
                await trio.aclose_forcefully(stream)
        await trio.sleep(MOMENT)


def _server_end_of(stream: trio.SocketStream) -> str | None:
    """The number by which the kernel knows the other end of a connection over IPv4, if it is on this machine."""
    ours, theirs = map(_as_the_kernel_writes, (stream.socket.getsockname(), stream.socket.getpeername()))
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return next((fields[9] for line in lines if (fields := line.split())[1:3] == [theirs, ours]), None)


def _has(pid: int, inode: str | None) -> bool:
    """Whether a process has this end of a connection."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return any(_target(link) == f"socket:[{inode}]" for link in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _target(link: Path) -> str:
    with suppress(FileNotFoundError):
        return os.readlink(link)
    return ""


def _as_the_kernel_writes(address: tuple[str, int]) -> str:
    """An address as /proc/net/tcp has it: a word of the machine's own order, in hex."""
    host, port = address
    return f"{int.from_bytes(ip_address(host).packed, 'little'):08X}:{port:04X}"
