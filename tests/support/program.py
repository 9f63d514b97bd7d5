"""The real program in a process of its own, started as an operator starts it; nothing of it outlives its context."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import trio
import trio_websocket

from tests.support.server import Talker

PATIENCE: Final = 30
"""Seconds that a real wait may take; each takes a fraction of one where nothing is wrong."""

MODULE: Final = (sys.executable, "-m", "trio_relay")
SCRIPT: Final = (str(Path(sys.executable).with_name("trio-relay")),)


def launcher(preparation: str) -> tuple[str, ...]:
    """A command that runs the program after some lines of Python."""
    return sys.executable, "-c", f"{preparation}\nfrom trio_relay.cli import main\nmain(prog_name='trio-relay')"


class Program:
    """A process that runs the relay, and what it has said so far."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.turn = trio.Lock()
        """Of those who have its processes stand still."""
        self._said = {"out": b"", "err": b""}
        self._more = trio.Event()
        self._ended = trio.Event()

    @property
    def out(self) -> str:
        """Its standard output."""
        return self._said["out"].decode(errors="replace")

    @property
    def err(self) -> str:
        """Its standard error."""
        return self._said["err"].decode(errors="replace")

    async def listen(self) -> None:
        """Read both of its streams to their ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read, "out", self.process.stdout)
            nursery.start_soon(self._read, "err", self.process.stderr)
        self._ended.set()
        self._more.set()

    async def _read(self, name: str, stream: trio.abc.ReceiveStream | None) -> None:
        assert stream is not None
        async with stream:
            async for chunk in stream:
                self._said[name] += chunk
                self._more.set()
                self._more = trio.Event()

    async def says(self, line: str) -> None:
        """Wait for a line that starts like this."""
        with trio.fail_after(PATIENCE):
            while not re.search(rf"^{re.escape(line)}.*\n", self.out, re.MULTILINE):
                assert not self._ended.is_set(), f"no {line!r} in:\n{self.out}\n{self.err}"
                await self._more.wait()

    async def logs(self, event: str) -> dict[str, Any]:
        """Wait for a line of its log, in JSON, about this; gives the first."""
        await self.until(lambda log: any(line["event"] == event for line in log))
        return next(line for line in self.log if line["event"] == event)

    async def until(self, is_told: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Wait until its log has told this."""
        with trio.fail_after(PATIENCE):
            while not is_told(self.log):
                assert not self._ended.is_set(), self.err
                await self._more.wait()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The whole lines of its log so far; each must be JSON."""
        return [json.loads(line) for line in self.err.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, once it does."""
        found = re.search(r"^listening on ws://(.+):(\d+)$", self.out, re.MULTILINE)
        assert found is not None, self.out
        return found[1], int(found[2])

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Talker]:
        """A WebSocket client, by trio-websocket; its connection is dropped at the end."""
        stream = await trio.open_tcp_stream(*self.address)
        async with stream, trio.open_nursery() as nursery:
            with trio.fail_after(PATIENCE):
                connection = await trio_websocket.wrap_client_stream(nursery, stream, "relay.localhost", "/")
            yield Talker(connection)
            nursery.cancel_scope.cancel()

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """A plain HTTP request to it."""
        host, port = self.address
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            return await client.get(f"http://{host}:{port}{path}", headers=headers)

    def signal(self, number: signal.Signals) -> None:
        """What Ctrl-C or a service manager does."""
        self.process.send_signal(number)

    async def wait(self) -> int:
        """Its exit code; afterwards all that it said is there."""
        with trio.fail_after(PATIENCE):
            code = await self.process.wait()
            await self._ended.wait()
        return code


@asynccontextmanager
async def running(
    folder: Path,
    settings: Mapping[str, str] | None = None,
    *,
    command: Sequence[str] = MODULE,
    inherited: Sequence[int] = (),
) -> AsyncIterator[Program]:
    """The program with its store in this folder and every port a free one, once it listens; killed at the end.

    Args:
        folder: its working directory.
        settings: `section.key` to its value, TOML or plain text.
        command: what starts it.
        inherited: file descriptors that it gets besides.
    """
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(settings),
            check=False,
            deliver_cancel=_kill,
            pass_fds=inherited,
        )
        program = Program(await nursery.start(start))
        nursery.start_soon(program.listen)
        await program.says("listening on ")
        yield program
        program.process.kill()


async def finished(
    folder: Path,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    command: Sequence[str] = MODULE,
) -> subprocess.CompletedProcess[bytes]:
    """The program with these arguments, run to its end."""
    with trio.fail_after(PATIENCE):
        return await trio.run_process(
            [*command, *arguments],
            stdin=stdin,
            capture_stdout=True,
            capture_stderr=True,
            cwd=folder,
            env=environment(settings),
            check=False,
            deliver_cancel=_kill,
        )


async def killed_after(
    seconds: float, *, folder: Path, arguments: Sequence[str], settings: Mapping[str, str] | None = None
) -> None:
    """The program with these arguments, killed after so long if it has not ended by itself."""
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            [*MODULE, *arguments],
            cwd=folder,
            env=environment(settings),
            check=False,
            capture_stdout=True,
            capture_stderr=True,
            deliver_cancel=_kill,
        )
        process: trio.Process = await nursery.start(start)
        with trio.move_on_after(seconds):
            await process.wait()
        process.kill()


def environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the program: ours, free ports, and these settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRIO_RELAY_")}
    chosen = {"net.listen": '["127.0.0.1:0"]', "metrics.listen": "127.0.0.1:0", **(settings or {})}
    return inherited | {f"TRIO_RELAY_{key.replace('.', '__').upper()}": value for key, value in chosen.items()}


async def _kill(process: trio.Process) -> None:
    process.kill()
