"""permessage-deflate (RFC 7692): agreed to where offered; stored messages go out deflated where it is worth it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.keys import ALICE, NOW
from tests.support.obedient_store import ObedientStore
from tests.support.server import open_door, plain
from tests.support.wire import Wire, message, open_stream, open_wire, upgrade
from trio_relay import Event, NetOptions
from trio_relay.net import outbox as outbox_module
from trio_relay.net.frames import deflated_text, text

pytestmark = pytest.mark.usefixtures("inline_threads")

OFFER = "permessage-deflate; client_max_window_bits"
AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
LONG = [ALICE.event("words " * 500 + str(number), created_at=NOW - number) for number in range(5)]
SHORT = ALICE.event("words", kind=7)
LIVE = ALICE.event("words " * 500 + "live")


async def filled_store(*, is_quick: bool = True) -> ObedientStore:
    store = ObedientStore()
    await store.save_many([*LONG, SHORT])
    store.is_quick = is_quick
    return store


async def received(wire: Wire, number: int) -> list[tuple[bool, list[Any]]]:
    """So many messages, and whether each came deflated."""
    return [await wire.receive_inflated() for _ in range(number)]


def told(sub_id: str, *events: Event) -> list[tuple[bool, list[Any]]]:
    return [(event is not SHORT, ["EVENT", sub_id, plain(event)]) for event in events]


@pytest.mark.parametrize(
    ("offer", "agreed", "is_deflated"),
    [
        (None, None, False),
        (OFFER, AGREED, True),
        ("permessage-deflate", AGREED, True),
        ("permessage-deflate; client_no_context_takeover; server_no_context_takeover", AGREED, True),
        ("permessage-deflate; client_max_window_bits=10", f"{AGREED}; client_max_window_bits=10", True),
        *(
            (
                f"permessage-deflate; server_max_window_bits={bits}",
                f"{AGREED}; server_max_window_bits={bits}",
                bits > 11,
            )
            for bits in range(9, 16)
        ),
        # Of several offers the first that can be met counts (RFC 7692, section 5.1).
        (
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            f"{AGREED}; server_max_window_bits=10",
            False,
        ),
        ("permessage-deflate; bogus, permessage-deflate", AGREED, True),
        ("x-webkit-deflate-frame, permessage-deflate", AGREED, True),
        ("permessage-deflate, permessage-deflate; server_max_window_bits=9", AGREED, True),
        ("x-webkit-deflate-frame", None, False),
        # What can't be met is declined (RFC 7692, section 7.1).
        ("permessage-deflate; bogus=1", None, False),
        ("permessage-deflate; server_max_window_bits=8", None, False),
        ("permessage-deflate; server_max_window_bits=7", None, False),
        ("permessage-deflate; server_max_window_bits=16", None, False),
        ("permessage-deflate; server_max_window_bits", None, False),
        ("permessage-deflate; client_max_window_bits=07", None, False),
        ("permessage-deflate; server_no_context_takeover=1", None, False),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", None, False),
    ],
)
async def test_it_is_agreed_to_where_an_offer_can_be_met(
    offer: str | None, agreed: str | None, is_deflated: bool, autojump_clock: MockClock
) -> None:
    """Whose window is smaller than ours could not read our messages: they stay plain."""
    async with open_door(await filled_store()) as door, open_stream(door) as wire:
        assert await wire.open(offer=offer) == agreed
        await wire.send(message("REQ", "a", {"kinds": [1], "limit": 1}))
        assert await received(wire, 2) == [
            (is_deflated, ["EVENT", "a", plain(LONG[0])]),
            (False, ["EOSE", "a"]),
        ]


async def test_it_is_not_agreed_to_where_it_is_switched_off(autojump_clock: MockClock) -> None:
    async with open_door(await filled_store(), net=NetOptions(deflate=False)) as door, open_stream(door) as wire:
        assert await wire.open(offer=OFFER) is None
        await wire.send(message("REQ", "a", {"kinds": [1], "limit": 1}))
        assert await received(wire, 1) == [(False, ["EVENT", "a", plain(LONG[0])])]


@pytest.mark.parametrize("offer", [";", "permessage-deflate; =", 'permessage-deflate; server_max_window_bits="', "a b"])
async def test_a_header_that_cannot_be_read_refuses_the_handshake(offer: str, autojump_clock: MockClock) -> None:
    """RFC 6455, section 9.1: it does not conform to the header's grammar."""
    async with open_door() as door, open_stream(door) as wire, door.client() as other:
        await wire.send(upgrade(Sec_WebSocket_Extensions=offer))
        assert (await wire.reply()).status == 400
        assert await other.ask("unhurt", {}) == []


@pytest.mark.parametrize("is_quick", [True, False])
async def test_stored_long_messages_come_deflated_and_live_ones_plain(
    is_quick: bool, autojump_clock: MockClock
) -> None:
    store = await filled_store(is_quick=is_quick)
    async with open_door(store) as door, open_wire(door, offer=OFFER) as wire, door.client() as other:
        await wire.send(message("REQ", "all", {"kinds": [1]}, {"kinds": [7]}))
        stored = sorted([*LONG, SHORT], key=lambda event: (-event.created_at, event.id))
        assert await received(wire, 7) == [*told("all", *stored), (False, ["EOSE", "all"])]
        assert await other.ask("all", {"kinds": [7]}) == [plain(SHORT)]
        await other.publish(LIVE)
        assert await received(wire, 1) == [(False, ["EVENT", "all", plain(LIVE)])]


async def test_a_live_event_is_framed_once_for_those_who_deflate_and_those_who_do_not(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []

    def counted(data: bytes) -> bytes:
        made.append(data)
        return text(data)

    monkeypatch.setattr(outbox_module, "text", counted)
    async with open_door() as door, AsyncExitStack() as stack:
        offers = [OFFER, None, "permessage-deflate", "permessage-deflate; server_max_window_bits=10", OFFER, None]
        wires = [await stack.enter_async_context(open_wire(door, offer=offer)) for offer in offers]
        for wire in wires:
            await wire.send(message("REQ", "sub", {"kinds": [1]}))
            assert await wire.receive() == ["EOSE", "sub"]
        made.clear()
        async with door.client() as speaker:
            await speaker.publish(LIVE)
        forms = [await received(wire, 1) for wire in wires]
        assert forms == [[(False, ["EVENT", "sub", plain(LIVE)])]] * len(offers)
        assert len([data for data in made if data.startswith(b'["EVENT"')]) == 1


class Work(trio.abc.Instrument):
    """Bytes that were given to the deflating frame, by step of a task."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps.append(0)

    def framed(self, data: bytes) -> bytes:
        self.steps[-1] += len(data)
        return deflated_text(data)


@pytest.mark.parametrize("is_quick", [True, False])
async def test_a_long_answer_is_deflated_in_pieces_with_turns_for_others_between(
    is_quick: bool, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of megabytes, deflated in one go, would hold up everyone."""
    store = ObedientStore(is_quick=is_quick)
    events = [ALICE.event("words " * 1_500 + str(number), created_at=NOW - number) for number in range(60)]
    await store.save_many(events)
    work = Work()
    turns: list[int] = []
    monkeypatch.setattr(outbox_module, "deflated_text", work.framed)

    async def take_turns() -> None:
        while True:
            turns.append(sum(work.steps))
            await trio.lowlevel.checkpoint()

    async with open_door(store) as door, open_wire(door, offer=OFFER) as wire, trio.open_nursery() as nursery:
        trio.lowlevel.add_instrument(work)
        nursery.start_soon(take_turns)
        await wire.send(message("REQ", "all", {}))
        assert await received(wire, 61) == [*told("all", *events), (False, ["EOSE", "all"])]
        trio.lowlevel.remove_instrument(work)
        nursery.cancel_scope.cancel()
        assert door.relay.statistics().queries.at_once == 0
    largest = len(message("EVENT", "all", events[0]))
    pieces = [size for size in work.steps if size]
    assert sum(pieces) > 60 * 9_000
    assert max(pieces) <= 65_536 + largest
    # Who of two tasks comes first is chance, so that two pieces may come between two turns, but never three.
    seen = sorted({done for done in turns if done})
    assert max(late - early for early, late in pairwise(seen)) <= 2 * (65_536 + largest)
    assert len(seen) >= len(pieces) // 2


async def test_a_short_answer_comes_at_once(autojump_clock: MockClock) -> None:
    async with open_door(await filled_store()) as door, open_wire(door, offer=OFFER) as wire:
        await wire.send(message("REQ", "all", {"kinds": [1]}))
        assert await received(wire, 6) == [*told("all", *LONG), (False, ["EOSE", "all"])]
        assert door.relay.statistics().queries.at_once == 1
