"""What it costs to open a subscription, to close it, and to find those that want an event, with many open.

Each shape of subscription stands in the index under some values: a follow list under each of its authors. So its cost
is told also per value. What an event costs depends on how many subscriptions want it, which is told too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

import msgspec

from perf.micro.rows import CPU, ROUNDS, Row, each, timed
from trio_relay import Filter
from trio_relay.nostr.event import Event
from trio_relay.pipeline.subscription_index import SubscriptionIndex

_SHARES: Final = {"follow list": 400, "thread": 300, "mentions": 290, "kinds": 2}
"""What is open, of each shape so many parts."""
_PEOPLE: Final = 20_000
"""Whom follow lists and mentions name, alike often; the corpus's authors are among them."""
_FOLLOWED: Final = (50, 300)
_IN_THREAD: Final = (1, 20)
_NOTES: Final = frozenset({1, 6})
_REACTIONS: Final = frozenset({1, 6, 7, 9735})
_UNWANTED: Final = 30_023
_MOST_MICROSECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Subscribed:
    """As much of a subscription as the index asks for, and its shape."""

    shape: str
    filters: tuple[Filter, ...]
    origin: str | None = None

    @property
    def values(self) -> int:
        """Under how many it stands in the index."""
        one = self.filters[0]
        return len(one.authors or (one.tags and one.tags[0][1]) or one.kinds or ())


def subscriptions(events: Sequence[Event], count: int = 10_000, churn: int = 1_000) -> list[Row]:
    """Closing some and opening them again, of each shape and mixed; then the events, as many as there are.

    Args:
        events: whose authors and ids are in the filters.
        count: subscriptions that are open.
        churn: of a round, at most.
    """
    random = Random(3)
    opened = _make(events, count, random)
    index: SubscriptionIndex[Subscribed] = SubscriptionIndex()
    for one in opened:
        index.add(one)
    random.shuffle(opened)
    rows = _churn("mixed", index, opened[:churn], _MOST_MICROSECONDS)
    for shape in _SHARES:
        some = [one for one in opened if one.shape == shape][:churn]
        rows += _churn(shape, index, some)
    assert len(index) == count
    return rows + _match(index, events)


def _churn(
    shape: str, index: SubscriptionIndex[Subscribed], some: Sequence[Subscribed], bar: float | None = None
) -> list[Row]:
    removing, adding = [], []
    for _ in range(ROUNDS):
        removing.append(_seconds(index.remove, some))
        adding.append(_seconds(index.add, some))
    values = sum(one.values for one in some)
    rows = []
    for operation, rounds in (("add", adding), ("remove", removing)):
        an_operation = each(iter(rounds).__next__, len(some))
        rows.append(Row(f"{operation}, {shape}, {values / len(some):.0f} values", an_operation, CPU, bar))
        if values > len(some):
            rows.append(Row(f"{operation}, {shape}, each value", an_operation * len(some) / values, CPU))
    return rows


def _seconds(operation: Callable[[Subscribed], object], some: Sequence[Subscribed]) -> float:
    start = time.thread_time()
    for one in some:
        operation(one)
    return time.thread_time() - start


def _match(index: SubscriptionIndex[Subscribed], events: Sequence[Event]) -> list[Row]:
    unwanted = [msgspec.structs.replace(event, kind=_UNWANTED, pubkey="0" * 64) for event in events]
    found = sum(len(index.match(event)) for event in events)
    assert found
    assert not any(map(index.match, unwanted))
    wanted = each(timed(lambda: [index.match(event) for event in events], time.thread_time), len(events))
    in_vain = each(timed(lambda: [index.match(event) for event in unwanted], time.thread_time), len(events))
    mean = found / len(events)
    return [
        Row(f"match, an event that {mean:.0f} subscriptions want", wanted, CPU, _MOST_MICROSECONDS),
        Row("match, each subscription found", wanted / mean, CPU),
        Row("match, an event that nobody wants", in_vain, CPU, _MOST_MICROSECONDS),
    ]


def _make(events: Sequence[Event], count: int, random: Random) -> list[Subscribed]:
    people = sorted({event.pubkey for event in events})
    people += [random.randbytes(32).hex() for _ in range(_PEOPLE - len(people))]
    ids = [event.id for event in events]
    roots = sorted({tag[1] for event in events for tag in event.tags if tag[0] == "e"})
    makers: dict[str, Callable[[], Filter]] = {
        "follow list": lambda: Filter(
            authors=frozenset(random.sample(people, random.randint(*_FOLLOWED))), kinds=_NOTES, limit=100
        ),
        "thread": lambda: Filter(
            tags=(("e", frozenset([random.choice(roots), *random.sample(ids, random.randint(*_IN_THREAD) - 1)])),),
            kinds=_REACTIONS,
            limit=100,
        ),
        "mentions": lambda: Filter(tags=(("p", frozenset([random.choice(people)])),), kinds=_REACTIONS, limit=50),
        "kinds": lambda: Filter(kinds=_NOTES, limit=100),
    }
    total = sum(_SHARES.values())
    shapes = [shape for shape, share in _SHARES.items() for _ in range(max(1, count * share // total))]
    shapes += ["thread"] * (count - len(shapes))
    return [Subscribed(shape, (makers[shape](),)) for shape in shapes[-count:]]
