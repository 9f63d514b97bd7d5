"""One budget for the memory of the relay, and what of it each setting gets that bounds memory (pure).

A part of the budget is for the program itself, and what is left is divided into equal parts. A setting that is left out
gets its parts; one that is set keeps what it says, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

MIB: Final = 2**20
FIRST_PROCESS: Final = 128 * MIB
"""Of a relay of one process, before anybody has connected 74 MB, and what it is working on: batches, pages, threads."""
EACH_FURTHER: Final = 64 * MIB
"""The same of each worker; what processes share is counted in each of them."""
PARTS: Final = 32
_FEWEST: Final = 2
"""Digits that a number of things keeps: who reads 1000000 takes it for a bound, and 1006632 for a mistake."""


class MemoryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One budget for all that the relay keeps and holds in memory."""

    total_bytes: Annotated[
        int,
        Meta(
            ge=FIRST_PROCESS + PARTS * MIB,
            description=(
                "Memory of all processes together; left out, 64 MiB more for each after the first. Settings that bound"
                " what is kept and held get their parts of it, unless they are set themselves: docs/operations.md tells"
                " which, and what is not counted."
            ),
            extra={"unit": "bytes"},
        ),
    ] = 2**30

    def of(self, processes: int) -> MemoryOptions:
        """What so many processes have where nobody set a number: as much to share as one has."""
        return MemoryOptions(total_bytes=self.total_bytes + (processes - 1) * EACH_FURTHER)


class Share(NamedTuple):
    """Of how many parts a setting is, and how many bytes one of what it counts takes."""

    parts: int
    each: int = 1


SHARES: Final[Mapping[str, Share]] = MappingProxyType(
    {
        "store.cache_bytes": Share(1),
        "store.event_cache_bytes": Share(1),
        "net.inbound_bytes": Share(2),
        "net.outbound_bytes": Share(7),
        "net.max_connections": Share(5, 14_500),
        "sync.max_events_of_all": Share(4, 40),
        "limits.max_filter_values_of_all": Share(12, 350),
    }
)
"""By setting; all parts together are the whole. What one of a thing takes was measured: see docs/operations.md."""


def needed_bytes(processes: int = 1) -> int:
    """The least that so many processes can do with."""
    return FIRST_PROCESS + (processes - 1) * EACH_FURTHER + PARTS * MIB


def divided(total: int, processes: int = 1) -> dict[str, int]:
    """What each setting of `SHARES` gets, by its name: all processes together.

    Args:
        total: bytes, at least `needed_bytes`.
        processes: of which the relay is made.
    """
    part = (total - needed_bytes(processes)) // PARTS + MIB
    return {name: _number(share, part) for name, share in SHARES.items()}


def _number(share: Share, part: int) -> int:
    number = share.parts * part // share.each
    if share.each == 1:
        return number
    unit: int = 10 ** max(0, len(str(number)) - _FEWEST)
    return number // unit * unit
