"""The manager's end of systemd's protocol, in patient words; `perf.restarts.manager` has the rest of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from perf.restarts import manager
from tests.support.program import PATIENCE


class Manager:
    """Hears what services tell of themselves."""

    def __init__(self, notices: manager.Notices) -> None:
        self.notices = notices
        self.address = notices.address

    async def next(self) -> list[str]:
        """The next notice, as its lines."""
        with trio.fail_after(PATIENCE):
            return await self.notices.next()

    async def until(self, line: str) -> list[str]:
        """The next one that has this line."""
        with trio.fail_after(PATIENCE):
            return await self.notices.until(line)


@contextmanager
def hearing(path: Path | None = None) -> Iterator[Manager]:
    """A manager that hears notices, at this path; without one, at an abstract address that the system chooses."""
    with manager.hearing(path) as notices:
        yield Manager(notices)
