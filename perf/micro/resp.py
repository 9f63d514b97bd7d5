"""Redis' protocol, as much of it as lists need: commands out, answers in, over a Unix socket; blocks."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self, TypeAlias

Answer: TypeAlias = bytes | int | list["Answer"] | None

_STALL_SECONDS: Final = 60.0


class RespError(Exception):
    """The server refused a command, or went away."""


def command(*words: bytes) -> bytes:
    """A command as it is sent."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class Redis:
    """One connection; whoever sends takes as many answers as it sent commands."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_STALL_SECONDS)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._answers = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._answers.close()
        self._socket.close()

    def send(self, commands: bytes) -> None:
        """Send some, joined; their answers are still to be taken, so they must find room on the way."""
        self._socket.sendall(commands)

    def answer(self) -> Answer:
        """The next one.

        Raises:
            RespError: it is an error, or there is none.
        """
        line = self._answers.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self._answers.read(int(rest) + 2)[:-2]
        if kind == b":":
            return int(rest)
        if kind == b"*":
            return None if rest == b"-1" else [self.answer() for _ in range(int(rest))]
        if kind == b"+":
            return rest
        raise RespError(line.decode(errors="replace"))

    def ask(self, *words: bytes) -> Answer:
        """Send one command and take its answer."""
        self.send(command(*words))
        return self.answer()

    def answers(self, count: int) -> Iterable[Answer]:
        """The next so many."""
        return (self.answer() for _ in range(count))
