"""The promises of a bus; `tests/bus` holds the real one and its twin in memory to them.

1. Notes of one member are heard by every other member in the order in which they were sent, each at most once; notes of
   several members in one order for all who hear them. Nobody hears its own.
2. A member hears each note that was sent after its first `Gap`, or one more `Gap` in its place. The first that each
   listener hears is a `Gap`, since it does not know what was said before it came.
3. Whoever hears a `Gap` and then reads from the store what has changed has missed nothing: each note that was sent
   before, and was not heard, may be one of those missed, and each that is missed later has its own `Gap`.
4. What a member sends while the bus is away waits, in a bounded number of bytes. What finds no room is dropped, and
   every other member hears a `Gap` once the bus is back. So does it if a member falls silent without having left, since
   nobody knows what it still had to say.
5. Nothing here raises because the bus is away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias


@dataclass(frozen=True, slots=True)
class Note:
    """What another member has sent."""

    sender: str
    """The member that sent it: another one after each start of a relay."""
    payload: bytes
    position: str
    """Its place in the bus's order, for logs: Redis gives no such place twice, but may go back after a failover."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What came before this, and was not heard, may have been missed: it is to be read from the store."""

    reason: str
    """One of few texts, for logs and metrics: "started", "trimmed", …"""


Heard: TypeAlias = Note | Gap
Take: TypeAlias = Callable[[Heard], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class BusStatistics:
    """What a member of the bus has done since its start."""

    notes_sent: int
    """That stand on the bus."""
    notes_heard: int
    """That were given to the listener."""
    notes_dropped: int
    """That found no room while the bus was away; the others heard of a gap."""
    notes_repeated: int
    """That came once more, and were not given again."""
    gaps: int
    """That were given to the listener, the first one included."""
    failures: int
    """How often the bus did not answer, or answered with an error."""
    waiting_bytes: int
    """Of notes that are not on the bus yet."""
    members: int
    """Others that were heard of late."""


class Bus(Protocol):
    """One member's side of the bus."""

    def send(self, note: bytes) -> None:
        """Have all other members hear this; never waits and never raises.

        Notes go out while `listen` runs; those sent before wait for it.
        """
        ...

    async def listen(self, take: Take) -> None:
        """Give `take` what other members send, and gaps, one at a time; run until cancelled.

        Whoever takes slowly holds up nobody else: the bus keeps what was sent, as far back as it reaches. Cancelled,
        it sends what still waits, for a second at most. An exception of `take` ends it.
        """
        ...

    @property
    def reaches_all(self) -> bool:
        """True if all that share the store are on this bus: then what it tells need not be looked for."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why the bus is away, for operators; None while it answers."""
        ...

    def statistics(self) -> BusStatistics:
        """Return what was sent, heard and lost until now."""
        ...
