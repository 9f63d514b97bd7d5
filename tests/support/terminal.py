"""The real program on a terminal of its own: what a person types, and what it shows."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from fcntl import ioctl
from functools import partial
from pathlib import Path
from struct import pack
from termios import TIOCSWINSZ
from typing import Final

import trio

from tests.support.program import MODULE, PATIENCE, environment

COLUMNS: Final = 80
CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
CTRL_U: Final = "\x15"
_CODES: Final = re.compile(r"\x1b\[[?\d;]*[a-zA-Z]|\x07")
_AT_ITS_OWN: Final = (
    sys.executable,
    "-c",
    "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "os.execvp(sys.argv[1], sys.argv[1:])",
)
"""Starts a command as a shell in a window does, so that Ctrl-C reaches it."""


class Terminal:
    """A program's window.

    Args:
        keyboard: our end of its terminal.
        process: the program.
    """

    def __init__(self, keyboard: int, process: trio.Process) -> None:
        self.written = ""
        """All that was written to it so far, with the echo of what was typed."""
        self.process = process
        self._stream = trio.lowlevel.FdStream(keyboard)
        self._looked = 0

    @property
    def shown(self) -> str:
        """The same without codes for colours and the like."""
        return _CODES.sub("", self.written)

    async def shows(self, text: str) -> None:
        """Wait until this is shown, behind what was waited for before."""
        with trio.fail_after(PATIENCE):
            while (at := self.shown.find(text, self._looked)) < 0:
                more = await self._read()
                assert more, f"no {text!r} in:\n{self.shown[self._looked :]}"
        self._looked = at + len(text)

    async def type(self, text: str) -> None:
        """Press these keys."""
        await self._stream.send_all(text.encode())

    async def leaves(self, key: str) -> int:
        """Press this key until the program has ended; gives its exit code.

        Once may not do: Python looks for signals before it waits for a key, and one in between stays unseen until the
        next.
        """
        for _ in range(PATIENCE):
            await self.type(key)
            with trio.move_on_after(1):
                return await self.ends()
        raise AssertionError(f"it goes on:\n{self.shown}")

    async def ends(self) -> int:
        """Wait for the program's end; gives its exit code."""
        with trio.fail_after(PATIENCE):
            while await self._read():
                pass
            return await self.process.wait()

    async def close(self) -> None:
        """Give up our end."""
        await self._stream.aclose()

    async def _read(self) -> str:
        try:
            more = bytes(await self._stream.receive_some()).decode(errors="replace")
        except trio.BrokenResourceError:  # which is how the end of a terminal is told
            more = ""
        self.written += more
        return more


@asynccontextmanager
async def on_terminal(
    folder: Path,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    command: Sequence[str] = MODULE,
) -> AsyncIterator[Terminal]:
    """The program with these arguments on a terminal of 80 columns and 24 lines; killed at the end.

    Args:
        folder: its working directory.
        arguments: behind the command.
        settings: `section.key` to its value.
        variables: of the environment; TERM is xterm.
        command: what starts it.
    """
    keyboard, terminal = os.openpty()
    ioctl(terminal, TIOCSWINSZ, pack("HHHH", 24, COLUMNS, 0, 0))
    async with trio.open_nursery() as nursery:
        start = partial(
            trio.run_process,
            [*_AT_ITS_OWN, *command, *arguments],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=folder,
            env={**environment(settings), "TERM": "xterm", **(variables or {})},
            check=False,
        )
        process: trio.Process = await nursery.start(start)
        os.close(terminal)
        shown = Terminal(keyboard, process)
        try:
            yield shown
        finally:
            process.kill()
            await shown.close()
