"""Programs without processes: a test reads what they are asked, and says what they say and how they end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from trio_relay.plugins import Answer, Program

TIMEOUT = 10.0
"""Seconds for an answer."""


class Puppet:
    """One process of a program; it ends when it is told to, by a signal or by the test.

    Args:
        pid: its number.
        is_stubborn: True if SIGTERM does not end it.
    """

    def __init__(self, pid: int, *, is_stubborn: bool = False) -> None:
        self.pid = pid
        self.stdin = trio.testing.MemorySendStream()
        self.stdout = trio.testing.MemoryReceiveStream()
        self.stderr = trio.testing.MemoryReceiveStream()
        self.signals: list[str] = []
        self.ended = trio.Event()
        self._is_stubborn = is_stubborn
        self._code = 0

    async def wait(self) -> int:
        await self.ended.wait()
        return self._code

    def terminate(self) -> None:
        self.signals.append("TERM")
        if not self._is_stubborn:
            self.end(-15)

    def kill(self) -> None:
        self.signals.append("KILL")
        self.end(-9)

    def end(self, code: int = 0) -> None:
        """End, unless it has."""
        if not self.ended.is_set():
            self._code = code
            self.ended.set()

    def asked(self) -> list[str]:
        """The lines that came since the last look."""
        try:
            return self.stdin.get_data_nowait().decode().splitlines()
        except trio.WouldBlock:
            return []

    async def say(self, *lines: dict[str, Any] | bytes) -> None:
        """Write answers, or any bytes."""
        for line in lines:
            self.stdout.put_data(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        await trio.testing.wait_all_tasks_blocked()

    async def accept(self, *keys: str) -> None:
        """Answer questions."""
        await self.say(*({"id": key, "action": "accept"} for key in keys))


class Troupe:
    """The processes that were started so far, and a program that starts them.

    Args:
        processes, in_flight: see `Program`.
        is_stubborn: True if SIGTERM ends none of them.
    """

    def __init__(self, processes: int = 1, in_flight: int = 2, *, is_stubborn: bool = False) -> None:
        self.puppets: list[Puppet] = []
        self.version = 1
        """Another one stands for a program whose file has changed."""
        self.is_missing = False
        """True if it cannot be started."""
        self.answers: dict[str, Answer | None] = {}
        """By key, what came of questions that are over."""
        self.program = Program("write", self._start, processes, in_flight, TIMEOUT, self._changes)
        self._is_stubborn = is_stubborn
        self._asking: trio.Nursery | None = None

    def _start(self) -> Puppet:
        if self.is_missing:
            raise OSError("no room")
        self.puppets.append(Puppet(len(self.puppets) + 1, is_stubborn=self._is_stubborn))
        return self.puppets[-1]

    async def _changes(self) -> int:
        await trio.lowlevel.checkpoint()
        return self.version

    @asynccontextmanager
    async def playing(self) -> AsyncIterator[None]:
        """Have the program run."""
        async with trio.open_nursery() as self._asking:
            self._asking.start_soon(self.program.run)
            await trio.testing.wait_all_tasks_blocked()
            yield
            self._asking.cancel_scope.cancel()

    @property
    def last(self) -> Puppet:
        """The process that was started last."""
        return self.puppets[-1]

    async def ask(self, *keys: str) -> None:
        """Ask questions, whose lines are their keys, side by side; the answers are yet to come."""
        assert self._asking is not None
        for key in keys:
            self._asking.start_soon(self._ask, key)
            await trio.testing.wait_all_tasks_blocked()

    async def _ask(self, key: str) -> None:
        self.answers[key] = await self.program.ask(key, key.encode() + b"\n")

    @property
    def actions(self) -> dict[str, str | None]:
        """By key, what was decided; None: no answer came."""
        return {key: None if answer is None else answer.action for key, answer in self.answers.items()}
