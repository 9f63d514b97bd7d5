"""What open filters take in memory, for each value that they count: whatever they look like, the bound is a bound."""

from __future__ import annotations

import gc
import json
import string
import tracemalloc
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.pipeline import LocalClient, open_desk
from trio_relay import Limits, MemoryStore, Subscription
from trio_relay.nostr.message import Subscribe
from trio_relay.nostr.session import Session

NUMBERS = count(10**6)
MOST_BYTES = 250
"""Of a value: half a million take less than 130 MB then, and a process not much more."""


def ids(number: int) -> list[str]:
    return [f"{next(NUMBERS):064x}" for _ in range(number)]


def texts(number: int, more: str = "") -> list[str]:
    return [f"{next(NUMBERS)}{more}" for _ in range(number)]


SHAPES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "a list of authors": lambda: [{"authors": ids(2_000)}],
    "the same authors twice": lambda: [{"authors": (some := ids(1_000)), "kinds": [1]}, {"authors": some}],
    "replies": lambda: [{"#e": ids(2_000)}],
    "short texts, just too many for a set": lambda: [{"#t": texts(2_500)}],
    "texts with a crab": lambda: [{"#t": texts(1_000, "x" * 20 + "🦀")}],
    "longer texts with a crab": lambda: [{"#t": texts(500, "x" * 54 + "🦀")}],
    "a long text": lambda: [{"#t": ["x" * 500_000]}],
    "an author": lambda: [{"authors": ids(1)}],
    "twenty authors": lambda: [{"authors": ids(1)} for _ in range(20)],
    "times": lambda: [{"kinds": [next(NUMBERS) % 60_000], "until": next(NUMBERS)}],
    "nothing": lambda: [{}],
    "empty lists": lambda: [{f"#{letter}": [] for letter in string.ascii_letters} for _ in range(20)],
    "a list for each letter": lambda: [{f"#{letter}": ids(1) for letter in string.ascii_letters} for _ in range(20)],
    "words": lambda: [{"search": " ".join(texts(100))} for _ in range(20)],
}


@pytest.mark.slow
@pytest.mark.parametrize("make", SHAPES.values(), ids=SHAPES)
async def test_a_value_takes_a_quarter_of_a_kilobyte_at_most(
    make: Callable[[], list[dict[str, Any]]], autojump_clock: MockClock
) -> None:
    """The table of the session, the subscription, its filters with their sets and texts, and the index."""
    messages = [json.dumps(["REQ", f"{number:064}", *make()], ensure_ascii=False).encode() for number in range(300)]
    async with open_desk(MemoryStore()) as (relay, _):
        client, kept = LocalClient(), []
        for data in messages[:1]:
            Session(Limits()).receive(data)  # what is made once
        gc.collect()
        tracemalloc.start()
        session = Session(Limits(max_filter_values=20_000))
        for data in messages:
            action = session.receive(data)
            if not isinstance(action, Subscribe):
                break
            kept.append(Subscription(action.sub_id, action.filters, client, size=session.asked))
            session.hold(session.asked)
            assert relay.subscribe(kept[-1]) is None
        await wait_all_tasks_blocked()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert relay.statistics().broadcaster.filter_values >= 1_500
        assert held / relay.statistics().broadcaster.filter_values <= MOST_BYTES
