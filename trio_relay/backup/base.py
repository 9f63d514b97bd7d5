"""What backups are, wherever they go: the promises of a vault, what was made, and how it went."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class BackupRefused(Exception):
    """A backup that is not made or not used; the message says why, for the operator."""


@dataclass(frozen=True, slots=True)
class BackupMade:
    """A backup that is there.

    Attributes:
        name: of its file or its snapshot.
        moment: seconds since 1970; not after the moment whose store it is.
        events: how many are in it.
        with_key: whether the relay's own keys are in it.
        size: its bytes; of a snapshot those that it has added to the repository.
        seconds: how long it took.
    """

    name: str
    moment: float
    events: int
    with_key: bool
    size: int
    seconds: float

    def __str__(self) -> str:
        """For the operator."""
        held = described(self.events, self.moment, with_key=self.with_key)
        return f"{self.name}: {held}, in {self.size} bytes; {self.seconds:.1f} s"


def described(events: int, moment: float, *, with_key: bool) -> str:
    """What a backup holds, in words."""
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    return f"{events} events as of {made}, {'with' if with_key else 'without'} the relay's keys"


class Vault(Protocol):
    """Where backups of a store are: a folder, or a repository of a cluster."""

    async def make(self, now: float) -> BackupMade:
        """Make one of this moment, in seconds since 1970.

        Raises:
            BackupRefused: it cannot be put there.
            StoreError: the store could not be read, or is damaged.
            StoreRefused: there is no store that this program knows.
        """
        ...

    async def newest(self, now: float) -> float | None:
        """When the newest up to now was made, both in seconds since 1970; None if there is none. Raises as `make` does.

        One of the future was made by a clock that has been set back since, and tells nothing.
        """
        ...

    async def rotate(self, keep: int, made: BackupMade, now: float) -> list[str]:
        """Remove all but so many of the newest (`rotation.beyond`); returns what has gone. Raises as `make` does."""
        ...


@dataclass(frozen=True, slots=True)
class BackupStatistics:
    """How backups do: when the last was made, in seconds since 1970; how long it took, and how many bytes it has, if
    this process has made it; how many failed, and why the last one did, if it did.
    """

    last: float | None = None
    seconds: float | None = None
    size: int | None = None
    failures: int = 0
    trouble: str | None = None
