"""Each limit of the table `rates`, on the wire: what is at it is served, one more is refused, and later is served."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from tests.support.keys import ALICE, NOW, Author
from tests.support.server import open_door
from tests.support.wire import Wire, message, open_wire
from trio_relay import Rules
from trio_relay.nostr.limits import Limits
from trio_relay.policy.rate_options import RateOptions

pytestmark = pytest.mark.usefixtures("inline_threads")


def rules(**rates: Any) -> Rules:
    return Rules(Limits(), rates=RateOptions(**rates))


async def publish(wire: Wire, keys: Author, *texts: str, kind: int = 1) -> list[tuple[bool, str]]:
    """Publish events, all in one read; gives their answers in order."""
    events = [keys.event(text, kind=kind, created_at=NOW) for text in texts]
    await wire.send(*(message("EVENT", event) for event in events))
    answers = {answer[1]: (answer[2], answer[3]) for answer in [await wire.receive() for _ in events]}
    return [answers[event.id] for event in events]


GOOD = (True, "")


@pytest.mark.parametrize(
    ("limit", "where"), [("events_per_connection", "on this connection"), ("events_per_address", "from this address")]
)
async def test_an_event_above_the_limit_is_refused_until_there_is_one_more(
    limit: str, where: str, peers: list[str], autojump_clock: MockClock
) -> None:
    peers += ["192.0.2.1"]
    async with open_door(rules=rules(**{limit: "5/minute burst 3"})) as door, open_wire(door) as wire:
        too_many = (False, f"rate-limited: 5 events a minute {where}; again in 12 s")
        assert await publish(wire, ALICE, "1", "2", "3", "4") == [GOOD, GOOD, GOOD, too_many]
        autojump_clock.jump(11)
        assert await publish(wire, ALICE, "4") == [(False, too_many[1].replace("12", "1"))]
        autojump_clock.jump(1)
        assert await publish(wire, ALICE, "4", "5") == [GOOD, too_many]
