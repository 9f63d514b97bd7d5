"""Members that talk while everything happens to the bus, in any order: what each of them hears has no hole untold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from tests.support.local_bus import Ear, LocalBus
from trio_relay.bus import Note, StreamBus

MEMBERS = 3
SECONDS = 30.0
"""In which everything is well again."""
Step: TypeAlias = tuple[str, int]
WHO = st.integers(0, MEMBERS - 1)
STEPS = st.lists(
    st.tuples(st.just("say"), WHO)
    | st.tuples(st.just("say much"), WHO)
    | st.tuples(st.sampled_from(["cut off", "mend"]), WHO)
    | st.tuples(st.sampled_from(["swallow", "lose", "trim", "empty", "turn back", "wait"]), st.integers(0, 5))
    | st.tuples(st.sampled_from(["gone", "twice", "slow"]), st.integers(0, 1)),
    max_size=60,
)


async def carry_out(steps: Sequence[Step], bus: LocalBus, members: Sequence[StreamBus]) -> list[int]:
    """Return how many notes each member has sent in the end."""
    said = [0] * MEMBERS
    for what, number in steps:
        match what:
            case "say":
                members[number].send(b"%d" % said[number])
                said[number] += 1
            case "say much":
                for _ in range(8):  # more than may wait
                    members[number].send(b"%d" % said[number])
                    said[number] += 1
            case "cut off":
                bus.cut_off(members[number])
            case "mend":
                bus.mend(members[number])
            case "swallow":
                bus.swallowed = number
            case "lose":
                bus.lose(number)
            case "trim":
                bus.trim(number)
            case "empty":
                bus.empty()
            case "turn back":
                bus.empty(step_back=number)
            case "wait":
                await trio.sleep(number)
            case "gone":
                bus.is_gone = bool(number)
            case "twice":
                bus.comes_twice = bool(number)
            case _:
                bus.lag = 4.0 * number
        await trio.testing.wait_all_tasks_blocked()
    return said


async def hear_all(steps: Sequence[Step]) -> tuple[list[int], list[dict[str, list[int | None]]]]:
    """How many notes each has sent; and for each listener, of each sender, their numbers, and None for a gap."""
    bus = LocalBus()
    members = [bus.join(waiting_bytes=400) for _ in range(MEMBERS)]
    ears = [Ear() for _ in members]
    async with trio.open_nursery() as nursery:
        for member, ear in zip(members, ears, strict=True):
            nursery.start_soon(member.listen, ear.take)
            await ear.gap()
        said = await carry_out(steps, bus, members)
        bus.is_gone, bus.comes_twice, bus.lag, bus.swallowed = False, False, 0.0, 0
        for member in members:
            bus.mend(member)
        await trio.sleep(SECONDS)
        for number, member in enumerate(members):
            member.send(b"%d" % said[number])
        await trio.sleep(SECONDS)
        assert [member.trouble for member in members] == [None] * MEMBERS
        nursery.cancel_scope.cancel()
    return said, [by_sender(ear) for ear in ears]


def by_sender(ear: Ear) -> dict[str, list[int | None]]:
    found: dict[str, list[int | None]] = {item.sender: [] for item in ear.heard if isinstance(item, Note)}
    for item in ear.heard:
        if isinstance(item, Note):
            found[item.sender].append(int(item.payload))
        else:
            for numbers in found.values():
                numbers.append(None)
    return found


@pytest.mark.slow
@given(STEPS)
def test_what_is_heard_is_in_order_and_once_and_what_is_missed_is_told(steps: list[Step]) -> None:
    said, heard = trio.run(hear_all, steps, clock=trio.testing.MockClock(autojump_threshold=0))
    for number, senders in enumerate(heard):
        others = sorted(said[:number] + said[number + 1 :])
        assert sorted(max(note for note in numbers if note is not None) for numbers in senders.values()) == others
        for numbers in senders.values():
            is_told, expected = True, 0
            for note in numbers:
                if note is None:
                    is_told = True
                else:
                    assert note >= expected
                    assert is_told or note == expected
                    is_told, expected = False, note + 1
