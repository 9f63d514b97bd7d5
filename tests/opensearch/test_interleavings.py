"""Two relays on one index, whatever is done on either and whatever becomes of the bus: as one relay would have it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from tests.opensearch.live import Hearer, publish, subscribe
from tests.opensearch.shared_index import SharedIndex, relay_on
from tests.support.backends import everything
from tests.support.keys import ALICE, BOB, CAROL, NOW
from tests.support.local_bus import LocalBus
from tests.support.marks import examples
from tests.support.server import run_threads_inline
from trio_relay import Event, Filter, MemoryStore, Relay, open_relay
from trio_relay.bus import StreamBus
from trio_relay.policy.lists import Change, ListEntry, ListName

pytestmark = pytest.mark.slow

Step: TypeAlias = tuple[str, int, float]
"""What is done, a number that says to whom or with what, and how many seconds pass before the next step."""

AUTHORS = (ALICE, BOB, CAROL)
NOTES = [author.event(f"{number}", created_at=NOW + number) for author in AUTHORS for number in range(4)]
PROFILES = [author.event(kind=0, created_at=NOW + number) for author in (ALICE, BOB) for number in range(3)]
PAGES = [ALICE.event(kind=30_023, created_at=NOW + number, tags=[["d", "x"]]) for number in range(3)]
REQUESTS = [
    ALICE.event(kind=5, created_at=NOW + 9, tags=[["e", NOTES[0].id], ["e", NOTES[1].id]]),
    BOB.event(kind=5, created_at=NOW + 9, tags=[["e", NOTES[4].id]]),
    ALICE.event(kind=5, created_at=NOW + 1, tags=[["a", f"30023:{ALICE.pubkey}:x"]]),
]
VANISHING = BOB.event(kind=62, created_at=NOW + 2, tags=[["relay", "ALL_RELAYS"]])
POOL = [*NOTES, *PROFILES, *PAGES, *REQUESTS, VANISHING]
PASSING = [ALICE.event(f"{number}", kind=20_001) for number in range(5)]
ADDRESSED = {event.id: (event.pubkey, event.kind) for event in [*PROFILES, *PAGES]}
BANNED = CAROL.pubkey

pauses = st.sampled_from([0.0, 0.01, 0.3, 2.5, 20.0])
doings = st.sampled_from(["publish"] * 10 + ["subscribe", "subscribe", "ask", "ask"])
faults = st.sampled_from(["cut", "cut", "mend", "mend", "lose", "trim", "empty", "twice", "swallow", "lag"])
quiet_steps = st.lists(st.tuples(doings, st.integers(0, 99), pauses), min_size=3, max_size=25)
steps = st.lists(st.tuples(doings | faults | st.just("ban"), st.integers(0, 99), pauses), min_size=3, max_size=30)


@dataclass(slots=True)
class World:
    """Two relays, their bus if they have one, all who have ever listened, and the one relay they are to be like."""

    relays: tuple[Relay, Relay]
    bus: LocalBus | None
    members: tuple[StreamBus, StreamBus] | None
    twin: MemoryStore = field(default_factory=MemoryStore)
    hearers: list[Hearer] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    is_banned: bool = False

    async def publish(self, number: int) -> None:
        event = POOL[number % len(POOL)]
        ((_, accepted, reason),) = await publish(self.relays[number // 50], event)
        (outcome,) = await self.twin.save_many([event])
        if accepted and not reason:
            self.acknowledged.append(event.id)
        # Another relay may not have heard yet that a key has vanished, and of a ban it may not have either.
        if event.pubkey not in (BOB.pubkey, BANNED):
            assert (outcome.name == "STORED") is (accepted and not reason), (outcome, reason)

    async def subscribe(self, number: int) -> None:
        self.hearers.append(await subscribe(self.relays[number % 2]))

    async def ask(self, number: int) -> None:
        hearer = await subscribe(self.relays[number % 2], Filter(authors=frozenset([ALICE.pubkey]), limit=50))
        assert max(Counter(hearer.heard).values(), default=1) == 1

    async def ban(self, number: int) -> None:
        everything = Filter(authors=frozenset([BANNED]))
        changes = [Change(ListName.BANNED_PUBKEYS, BANNED, ListEntry(since=NOW))]
        await self.relays[number % 2].moderation.removals.enforce(changes, [everything])
        self.is_banned = True

    async def disturb(self, what: str, number: int) -> None:
        if (bus := self.bus) is None or self.members is None:
            return
        member = self.members[number % 2]
        match what:
            case "cut":
                bus.cut_off(member)
            case "mend":
                bus.mend(member)
            case "lose":
                bus.lose(1 + number % 3)
            case "trim":
                bus.trim(number % 3)
            case "empty":
                bus.empty(step_back=number)
            case "twice":
                bus.comes_twice = not bus.comes_twice
            case "swallow":
                bus.swallowed += 1
            case "lag":
                bus.lag = (number % 3) * 0.5

    async def do(self, step: Step) -> None:
        what, number, pause = step
        if what in ("publish", "subscribe", "ask", "ban"):
            await getattr(self, what)(number)
        else:
            await self.disturb(what, number)
        await trio.sleep(pause)

    async def quiet(self) -> None:
        """Heal the bus, and wait until all is swept."""
        if self.bus is not None and self.members is not None:
            self.bus.lag, self.bus.comes_twice = 0.0, False
            for member in self.members:
                self.bus.mend(member)
        await trio.sleep(150)

    async def standing(self) -> list[str]:
        """The ids of what both relays have, which is the same."""
        first, second = [(await subscribe(relay)).heard for relay in self.relays]
        assert first == second
        return first


@asynccontextmanager
async def world(seed: int, *, has_bus: bool, ahead: float) -> AsyncIterator[World]:
    chance = random.Random(seed)
    index = SharedIndex(takes=lambda: chance.choice([0.0, 0.0, 0.002, 0.05]))
    bus = LocalBus() if has_bus else None
    members = (bus.join(), bus.join()) if bus is not None else None
    async with (
        relay_on(index, bus=members and members[0]) as (one, _),
        relay_on(index, bus=members and members[1], ahead=ahead) as (other, _),
        open_relay(one, clock=lambda: NOW + 10) as relay,
        open_relay(other, clock=lambda: NOW + 10) as second,
    ):
        await trio.sleep(5)
        made = World((relay, second), bus, members)
        made.hearers += [await subscribe(relay), await subscribe(second)]
        yield made


def check(hearers: list[Hearer], standing: list[str]) -> None:
    """Everything that stands has come to everybody, nothing twice, and of no address an older version after a newer."""
    for hearer in hearers:
        assert max(Counter(hearer.heard).values(), default=1) == 1
        assert set(standing) <= set(hearer.heard)
        newest: dict[tuple[str, int], int] = {}
        made = {event.id: event.created_at for event in POOL}
        for event_id in hearer.live:
            if (address := ADDRESSED.get(event_id)) is not None:
                assert newest.get(address, 0) < made[event_id]
                newest[address] = made[event_id]


def play(main: Callable[[], Awaitable[None]]) -> None:
    """In virtual time, without threads."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        run_threads_inline(monkeypatch)
        trio.run(main, clock=MockClock(autojump_threshold=0))


@settings(max_examples=examples(60))
@given(steps, st.integers(0, 2**32), st.booleans(), st.sampled_from([-4.0, 0.0, 4.0, 15.0]))
def test_after_whatever_was_done_both_have_what_one_relay_would_have_and_all_have_heard_it_once(
    history: list[Step], seed: int, has_bus: bool, ahead: float
) -> None:
    async def main() -> None:
        async with world(seed, has_bus=has_bus, ahead=ahead) as both:
            for step in history:
                await both.do(step)
            await both.quiet()
            standing = await both.standing()
            expected = {event.id for event in await everything(both.twin)}
            if both.is_banned:
                expected -= {event.id for event in POOL if event.pubkey == BANNED}
            assert set(standing) == expected
            check(both.hearers, standing)

    play(main)


@settings(max_examples=examples(40))
@given(steps, st.integers(0, 2**32), st.booleans())
def test_so_it_is_where_all_comes_at_once(history: list[Step], seed: int, has_bus: bool) -> None:
    """What stands then is for the index to say; that everybody hears of it is the same."""

    async def main() -> None:
        async with world(seed, has_bus=has_bus, ahead=0.0) as both:
            async with trio.open_nursery() as nursery:
                for number, (what, which, pause) in enumerate(history):
                    if what == "publish":
                        nursery.start_soon(publish, both.relays[which // 50], POOL[which % len(POOL)])
                        await trio.sleep(0.01 * (number % 3))
                    else:
                        await both.do((what, which, min(pause, 0.3)))
            await both.quiet()
            check(both.hearers, await both.standing())

    play(main)


@settings(max_examples=examples(30))
@given(quiet_steps, st.integers(0, 2**32))
def test_with_a_bus_that_works_everything_that_was_acknowledged_is_heard_by_everybody(
    history: list[Step], seed: int
) -> None:
    """Also what is replaced or deleted a moment later, and what nobody stores."""

    async def main() -> None:
        async with world(seed, has_bus=True, ahead=0.0) as both:
            first = list(both.hearers)
            passed: list[Event] = []
            for step in history:
                await both.do(step)
                if step[1] % 7 == 0 and len(passed) < len(PASSING):
                    event = PASSING[len(passed)]
                    passed.append(event)
                    await publish(both.relays[step[1] % 2], event)
            await trio.sleep(1)
            wanted = Counter([*both.acknowledged, *(event.id for event in passed)])
            assert [Counter(hearer.heard) for hearer in first] == [wanted, wanted]

    play(main)
