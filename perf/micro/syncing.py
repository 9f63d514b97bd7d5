"""What the set of a sync costs (NIP-77): put together from a store, kept up with it, and asked for its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from random import Random
from statistics import median
from typing import Final

from perf.micro.rows import CPU, ROUNDS, Row, each, timed
from perf.syncing import FRAME, differing
from trio_relay.nostr.event import Event
from trio_relay.nostr.negentropy.items import ID_SIZE, Items, ItemSet, record
from trio_relay.nostr.negentropy.protocol import initiate, reconcile, reply
from trio_relay.nostr.negentropy.wire import fingerprint

_PAGE: Final = 4_000
"""Records that a store gives at a time."""
_MOST_ASKED: Final = 2_000
"""Additions, and ranges, of a round."""
_SHARE: Final = 1 / 1_000
"""Of the items: so many are others on the other side of a sync."""


def syncing(_events: Sequence[Event], count: int = 1_000_000) -> list[Row]:
    """A set of random ids, one a second on average.

    Args:
        count: items of the set, a few thousand at least.
    """
    random = Random(17)
    pages = _pages(random, count)
    collection = _built(pages)
    items = collection.snapshot()
    differences = 2 * round(count * _SHARE / 2)
    messages = _messages(differing(b"".join(pages), differences).items, items)
    number = min(_MOST_ASKED, count // 10)
    ranges = [sorted(random.sample(range(count + 1), 2)) for _ in range(number)]
    others = [_item(random, count) for _ in range(number)]

    def row(what: str, work: Callable[[], object], operations: int = 1) -> Row:
        return Row(what, each(timed(work, time.thread_time), operations), CPU)

    return [
        row(f"an item of {count:,}, by pages, newest first", lambda: _built(pages), count),
        *_changes(collection, others),
        row("a snapshot after a change", lambda: _change_and_freeze(collection, others[0])),
        row("a range's fingerprint", lambda: _fingerprints(items, ranges), number),
        row(
            f"all {len(messages)} answers of a sync, {differences:,} differ",
            lambda: [reply(items, message, FRAME) for message in messages],
        ),
    ]


def _item(random: Random, count: int) -> tuple[int, bytes]:
    return random.randrange(count), random.randbytes(ID_SIZE)


def _pages(random: Random, count: int) -> list[bytes]:
    """Records, newest first."""
    made = sorted((record(*_item(random, count)) for _ in range(count)), reverse=True)
    return [b"".join(made[start : start + _PAGE]) for start in range(0, count, _PAGE)]


def _built(pages: Sequence[bytes]) -> ItemSet:
    collection = ItemSet()
    for page in pages:
        collection.extend(page)
    return collection


def _messages(client: Items, server: Items) -> list[bytes]:
    """What the client of a sync says."""
    messages = []
    message: bytes | None = initiate(client)
    while message is not None:
        messages.append(message)
        message = reconcile(client, reply(server, message, FRAME), FRAME).message
    return messages


def _changes(collection: ItemSet, items: Sequence[tuple[int, bytes]]) -> list[Row]:
    """In and out again, in turn."""
    added, discarded = [], []
    for _ in range(ROUNDS):
        added.append(timed(lambda: [collection.add(*item) for item in items], time.thread_time)())
        discarded.append(timed(lambda: [collection.discard(*item) for item in items], time.thread_time)())
    return [
        Row("add an item anywhere", median(added) / len(items) * 1e6, CPU),
        Row("discard an item", median(discarded) / len(items) * 1e6, CPU),
    ]


def _change_and_freeze(collection: ItemSet, item: tuple[int, bytes]) -> None:
    if not collection.discard(*item):
        collection.add(*item)
    collection.snapshot()


def _fingerprints(items: Items, ranges: Sequence[Sequence[int]]) -> None:
    for lower, upper in ranges:
        fingerprint(items.sum_before(upper) - items.sum_before(lower), upper - lower)
