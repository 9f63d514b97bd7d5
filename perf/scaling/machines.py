"""How many machines are divided among relays and nodes, and an index into shards, so that the whole does most."""

from __future__ import annotations

import math
from typing import Final

from perf.scaling.costs import Costs
from perf.scaling.fleet import Fleet, Mix, capacity

SHARD_BYTES: Final = 40e9
"""Of a shard at most: OpenSearch advises 10 to 50 GB, since a larger one is slow to move after a node was lost."""
_AS_GOOD: Final = 0.98


def shards_of(stored: float, costs: Costs) -> int:
    """Primary shards for so many events."""
    return max(1, math.ceil(stored * costs.stored_cluster / SHARD_BYTES))


def divided(machines: int, stored: float, mix: Mix, costs: Costs) -> Fleet:
    """The fleet of so many machines that does most.

    One keeps its events in SQLite. More of them are relays and nodes: each number of relays is tried, and each number
    of replicas that leaves no node with nothing to do, or at least one, so that no node's loss takes events along. Of
    those that are as good, the one with the fewest copies is taken, since small batches make copies dearer.
    """
    if machines == 1:
        return Fleet()
    shards = shards_of(stored, costs)
    tried = [
        Fleet(relays=relays, nodes=machines - relays, shards=shards, replicas=replicas)
        for relays in range(1, machines)
        for replicas in _replicas(machines - relays, shards)
    ]
    most = [capacity(fleet, mix, costs).most for fleet in tried]
    good = [fleet for fleet, one in zip(tried, most, strict=True) if one >= _AS_GOOD * max(most)]
    return min(good, key=lambda fleet: fleet.copies)


def _replicas(nodes: int, shards: int) -> range:
    """Those worth a try: copies of a shard stand on different nodes."""
    if nodes == 1:
        return range(1)
    enough = max(1, math.ceil(nodes / shards) - 1)
    return range(1, min(nodes - 1, enough) + 1)
