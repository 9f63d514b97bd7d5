"""Bytes that the relay holds for all clients together, in and out: bounded, and whoever holds most goes first.

Each client's own bounds are not enough: thousands that use theirs to the full would take all memory there is. Nothing
is added up for each message. Clients tell of what they make the relay hold beyond the moment, as it grows: input whose
end has not come, output that the network does not take. Only when that has grown by as much as was free at the last
look is everything looked at again.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from heapq import heapify, heappop, heappush
from operator import itemgetter
from typing import Final, Protocol, TypeVar

import structlog

from trio_relay.net.close_reasons import CloseReason

log = structlog.get_logger("trio_relay.net")

_TELL_SECONDS: Final = 60.0
_FINE_PARTS: Final = 16
"""Clients go until a sixteenth of the budget is free: else the next bytes would need a look at everybody again."""
_TIGHT_PARTS: Final = 2
"""With half of the budget taken, what can wait is no longer sent ahead."""


class Direction(Enum):
    """Which way bytes are on."""

    IN = "in"
    OUT = "out"


_REASONS: Final = {
    Direction.IN: CloseReason(
        "inbound bytes", 1013, "too much: the relay is full of unfinished input, and this address has most", seconds=1.0
    ),
    Direction.OUT: CloseReason(
        "outbound bytes", 1013, "too slow: the relay is full of unread messages, and this address has most", seconds=1.0
    ),
}
FULL_OF_FILTERS: Final = CloseReason(
    "filters", 1013, "too much: the relay is full of filters, and this address has many times more than others"
)
OVER_BUDGET: Final = frozenset(_REASONS.values())
"""How connections end that hold most while a budget is exceeded. 1013, "try again later": RFC 6455's registry."""


class Client(Protocol):
    """Whoever makes the relay hold bytes."""

    @property
    def origin(self) -> str | None:
        """Whom it counts as; None: as itself alone."""

    def held_bytes(self, direction: Direction) -> int:
        """What it makes the relay hold this way, at most: what it shares with others is counted whole."""

    def own_bytes(self, direction: Direction) -> int:
        """The same, of shared bytes its share alone; an estimate, which takes longer."""

    def put_out(self, reason: CloseReason) -> None:
        """Let go of all that it holds, and end its connection soon; sync."""


class Budget:
    """What may be held in one direction.

    Args:
        direction: which.
        most: bytes.
        clients: gives all that are here now.
    """

    def __init__(self, direction: Direction, most: int, clients: Callable[[], Iterable[Client]]) -> None:
        self.is_tight = False
        """True while so much is held that what can wait should."""
        self._direction = direction
        self._most = most
        self._clients = clients
        self._grown = 0
        self._free = most // _TIGHT_PARTS
        self._untold = 0
        self._told = -math.inf

    def grow(self, size: int) -> None:
        """So many more bytes are held, for how long nobody knows; sync, and may put out any client, the caller too."""
        self._grown += size
        if self._grown > self._free:
            self._look()

    def take_most(self, most: int) -> None:
        """Have so many bytes held at most from now on; sync, and may put out any client."""
        self._most = most
        self._look()

    def held(self) -> int:
        """Bytes held now, at most."""
        return sum(client.held_bytes(self._direction) for client in self._clients())

    def watch(self, now: float) -> None:
        """See whether there is room again, and tell who was put out; to be called about every second."""
        if self.is_tight:
            self._look()
        if self._untold and now - self._told >= _TELL_SECONDS:
            self._told = now
            log.warning(
                "clients put out for what they made the relay hold",
                direction=self._direction.value,
                clients=self._untold,
                most=self._most,
            )
            self._untold = 0

    def _look(self) -> None:
        held = self.held()
        if held > self._most:
            held = self._make_room()
        tight = self._most // _TIGHT_PARTS
        self.is_tight = held > tight
        self._grown = 0
        self._free = max(self._most // _FINE_PARTS, (self._most if self.is_tight else tight) - held)

    def _make_room(self) -> int:
        """Put out those who hold most until there is room; gives what is still held."""
        sizes = [(size, client) for client in self._clients() if (size := client.own_bytes(self._direction))]
        held = sum(size for size, _ in sizes)
        if held > self._most:
            for size, client in greediest(sizes, held - (self._most - self._most // _FINE_PARTS)):
                client.put_out(_REASONS[self._direction])
                self._untold += 1
                held -= size
        return held


class HasOrigin(Protocol):
    """Whoever counts as somebody."""

    @property
    def origin(self) -> str | None:
        """Whom it counts as; None: as itself alone."""


C = TypeVar("C", bound=HasOrigin)


def greediest(sizes: Sequence[tuple[int, C]], too_much: int, least: int = 0) -> Iterator[tuple[int, C]]:
    """Yield who has to go, and what it holds: the largest client of who holds most, until so much is let go.

    Args:
        sizes: what each client holds.
        too_much: what has to be let go.
        least: who holds no more than this in all is spared.
    """
    holders: dict[object, list[tuple[int, C]]] = {}
    sums: Counter[object] = Counter()
    for size, client in sizes:
        holder: object = client if client.origin is None else client.origin
        holders.setdefault(holder, []).append((size, client))
        sums[holder] += size
    greedy = [(-size, order, holder) for order, (holder, size) in enumerate(sums.items())]
    heapify(greedy)
    while too_much > 0 and greedy and -greedy[0][0] > least:
        taken, order, holder = heappop(greedy)
        largest = max(holders[holder], key=itemgetter(0))
        holders[holder].remove(largest)
        yield largest
        too_much -= largest[0]
        if holders[holder]:
            heappush(greedy, (taken + largest[0], order, holder))


class Budgets:
    """Both budgets of a server.

    Args:
        inbound: most bytes of input.
        outbound: most bytes of output.
        clients: gives all that are here now.
    """

    def __init__(self, inbound: int, outbound: int, clients: Callable[[], Iterable[Client]]) -> None:
        self.inbound = Budget(Direction.IN, inbound, clients)
        self.outbound = Budget(Direction.OUT, outbound, clients)

    def take_most(self, inbound: int, outbound: int) -> None:
        """Have other bounds hold from now on; sync, and may put out any client."""
        self.inbound.take_most(inbound)
        self.outbound.take_most(outbound)

    def watch(self, now: float) -> None:
        """Look after both; to be called about every second."""
        self.inbound.watch(now)
        self.outbound.watch(now)

    def held(self) -> dict[str, int]:
        """Bytes held now, by direction."""
        return {Direction.IN.value: self.inbound.held(), Direction.OUT.value: self.outbound.held()}


BOUNDLESS: Final = Budget(Direction.OUT, 2**62, tuple)
"""For who stands alone, outside of a server."""
