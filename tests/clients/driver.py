"""A client's script in a process of its own, and what the library in it was told to do, step by step."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from tests.clients.libraries import ROOT, Library

PATIENCE: Final = 10.0
"""Seconds for one step: over the patience of the libraries for an answer that does not come, which is 4.4 for some."""


class Failed(Exception):
    """What the library said, or that it said nothing in time."""


class Lacks(Exception):
    """The library has nothing for this, or its script uses nothing."""


class Client:
    """A running script: commands go to its standard input, answers and arrivals come from its standard output."""

    def __init__(self, process: trio.Process) -> None:
        self.err = b""
        self.arrived: dict[str, float] = {}
        """The ids of the events that subscriptions have brought, with the time of each."""
        self._process = process
        self._answers: dict[int, dict[str, Any]] = {}
        self._heard: defaultdict[int | str, trio.Event] = defaultdict(trio.Event)
        self._number = 0

    async def does(self, step: str, argument: object = None, *, seconds: float = PATIENCE) -> Any:
        """Let the library do something, and give what came out.

        Raises:
            Failed, Lacks
        """
        self._number += 1
        number = self._number
        line = json.dumps({"number": number, "does": step, "argument": argument})
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send_all(line.encode() + b"\n")
        except trio.BrokenResourceError:
            raise Failed("its script has ended") from None
        with trio.move_on_after(seconds):
            await self._heard[number].wait()
        answer = self._answers.get(number, {"failed": f"no answer in {seconds:.0f} s"})
        if "lacks" in answer:
            raise Lacks(step)
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["value"]

    async def brings(self, event_id: str, *, seconds: float = PATIENCE) -> None:
        """Wait until a subscription has brought an event.

        Raises:
            Failed
        """
        with trio.move_on_after(seconds):
            await self._heard[event_id].wait()
        if event_id not in self.arrived:
            raise Failed(f"no live event in {seconds:.0f} s")

    async def listen(self) -> None:
        """Read what the script says until it ends."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read_errors)
            await self._read_lines()

    async def _read_lines(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        match said:
            case {"arrived": event_id}:
                self.arrived.setdefault(event_id, trio.current_time())
                self._heard[event_id].set()
            case {"number": number}:
                self._answers[number] = said
                self._heard[number].set()
            case _:  # libraries print as well
                self.err += line + b"\n"

    async def _read_errors(self) -> None:
        assert self._process.stderr is not None
        async for chunk in self._process.stderr:
            self.err += chunk


@asynccontextmanager
async def driven(library: Library, url: str, secret: str = "") -> AsyncIterator[Client]:
    """A library's script, connected to a relay as soon as it wants; killed at the end.

    Args:
        library: which.
        url: of the relay.
        secret: the key with which it authenticates, hex; empty for a client that has none.
    """
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            [*library.command, url, secret, library.variant],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            check=False,
            deliver_cancel=_kill,
        )
        process = await nursery.start(start)
        client = Client(process)
        nursery.start_soon(client.listen)
        yield client
        nursery.cancel_scope.cancel()


async def _kill(process: trio.Process) -> None:
    process.kill()
