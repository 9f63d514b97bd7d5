"""Two workers are one relay: whatever comes between them, each subscriber sees what it would have seen from one.

The twin is the list of what was acknowledged, and a filter: what was there before a REQ is in its stored answer unless
it has gone meanwhile, what was published after it comes, each once, and nothing else does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, TypeAlias

import msgspec
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.marks import examples
from tests.support.members import HeldFile, Home, Household, open_household, run_threads_of_stores_inline
from tests.support.named_relay import URL
from tests.support.oracles import naive_match
from tests.support.server import Door, MemoryListener, Talker, run_threads_inline, served
from trio_relay import Event, Filter, Limits, MemberOptions, PolicyOptions, RelayInfo, Rules, open_relay
from trio_relay.nostr import filter as filters
from trio_relay.store import kept

AUTHORS: Final = [ALICE, BOB]
QUESTIONS: Final[list[dict[str, Any]]] = [
    {},
    {"kinds": [1]},
    {"kinds": [0, 30_023]},
    {"kinds": [20_001, 5]},
    {"authors": [ALICE.pubkey]},
    {"authors": [BOB.pubkey], "kinds": [1, 0]},
]
POOL: Final = [
    author.event(str(number), kind=kind, created_at=NOW + number, tags=[["d", "x"]] if kind == 30_023 else [])
    for author in AUTHORS
    for kind in (1, 0, 30_023, 20_001)
    for number in range(3)
]


@dataclass(frozen=True)
class Publish:
    """A client sends events at once; `at` is its worker."""

    at: int
    events: list[Event]


@dataclass(frozen=True)
class Ask:
    """A client opens a subscription, or replaces one, or counts."""

    at: int
    sub_id: str
    question: int
    verb: str = "REQ"


@dataclass(frozen=True)
class Close:
    """A client ends a subscription."""

    at: int
    sub_id: str


@dataclass(frozen=True)
class Link:
    """What a worker is told, or tells, waits; or so many bytes of it go on; None: all of it."""

    at: int
    is_down: bool
    most: int | None


@dataclass(frozen=True)
class Disk:
    """Commits wait, or go on."""

    goes_on: bool


@dataclass(frozen=True)
class Pause:
    """All goes as far as it does."""


Step: TypeAlias = Publish | Ask | Close | Link | Disk | Pause


def deletion(author: Author, targets: list[Event]) -> Event:
    return author.event(kind=5, created_at=NOW + 3, tags=[["e", target.id] for target in targets])


def vanishing(author: Author, age: int) -> Event:
    return author.event(kind=62, created_at=NOW + age, tags=[["relay", "ALL_RELAYS"]])


places = st.integers(0, 1)
sub_ids = st.sampled_from(["a", "b"])
targets = st.lists(st.sampled_from(POOL), min_size=1, max_size=3)
events = (
    st.sampled_from(POOL)
    | st.sampled_from(POOL)
    | st.builds(deletion, st.sampled_from(AUTHORS), targets)
    | st.builds(vanishing, st.sampled_from(AUTHORS), st.integers(0, 1))
)
histories = st.sampled_from(
    [
        *(
            [event for event in POOL if (event.pubkey, event.kind) == (author.pubkey, kind)]
            for author in AUTHORS
            for kind in (0, 30_023)
        ),
        *([event, deletion(author, [event])] for author in AUTHORS for event in POOL if event.pubkey == author.pubkey),
    ]
)
publishing = st.builds(Publish, places, st.lists(events, min_size=1, max_size=3) | histories)
asking = st.builds(Ask, places, sub_ids, st.integers(0, len(QUESTIONS) - 1), st.sampled_from(["REQ", "REQ", "COUNT"]))
closing = st.builds(Close, places, sub_ids)
linking = st.builds(Link, places, st.booleans(), st.sampled_from([0, 0, 0, None, 100, 700]))
pausing = st.just(Pause()) | st.builds(Disk, st.booleans())
steps = publishing | publishing | asking | asking | closing | linking | linking | pausing | pausing
scripts = st.lists(steps, min_size=15, max_size=60)


@dataclass
class Sub:
    """One REQ, and what it was sent.

    Attributes:
        known: what was acknowledged before it.
        later: what was published after it, until its CLOSE.
        is_entered: True once its worker must have read it.
    """

    filter_: Filter
    known: set[str]
    later: list[str] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    has_ended: bool = False
    is_entered: bool = False
    is_open: bool = True


class Client:
    """A client of one worker, all of whose subscriptions have different ids; it notes what it is sent."""

    def __init__(self, talker: Talker) -> None:
        self.talker = talker
        self.subs: dict[str, Sub] = {}
        self.open: dict[str, str] = {}
        self.answers: dict[str, tuple[bool, str]] = {}
        self.counted: dict[str, int] = {}
        self._numbers = count()

    async def read(self) -> None:
        while True:
            match await self.talker.receive():
                case ["EVENT", sub_id, event]:
                    sub = self.subs[sub_id]
                    assert sub.is_open, "nothing comes after CLOSE"
                    (sub.live if sub.has_ended else sub.stored).append(event["id"])
                case ["EOSE", sub_id, *_]:
                    assert not self.subs[sub_id].has_ended
                    self.subs[sub_id].has_ended = True
                case ["OK", event_id, accepted, reason]:
                    self.answers[event_id] = accepted, reason
                case ["COUNT", sub_id, answer]:
                    self.counted[sub_id] = answer["count"]
                case other:
                    raise AssertionError(other)

    async def close(self, name: str) -> None:
        if (sub_id := self.open.pop(name, None)) is not None:
            await self.talker.send("CLOSE", sub_id)
            await wait_all_tasks_blocked()
            self.subs[sub_id].is_open = False

    async def ask(self, step: Ask, known: set[str]) -> None:
        await self.close(step.sub_id)
        sub_id = f"{step.sub_id}{next(self._numbers)}"
        if step.verb == "REQ":
            self.open[step.sub_id] = sub_id
            self.subs[sub_id] = Sub(filters.parse_filter(QUESTIONS[step.question]), known)
        else:
            self.counted[sub_id] = -1
        await self.talker.send(step.verb, sub_id, QUESTIONS[step.question])


class Twins:
    """Two workers, a client of each, and all that was said."""

    def __init__(self, held: HeldFile, homes: Sequence[Home], clients: Sequence[Client]) -> None:
        self.held = held
        self.homes = homes
        self.clients = clients
        self.published: dict[str, Event] = {}

    def acknowledged(self, *, new: bool = False) -> set[str]:
        """Ids of what was taken, here or there; `new` leaves out what was a duplicate for whoever sent it."""
        return {
            event_id
            for client in self.clients
            for event_id, (accepted, reason) in client.answers.items()
            if accepted and not (new and reason)
        }

    async def take(self, step: Step) -> None:
        match step:
            case Publish(at, published):
                for event in published:
                    if event.id not in self.published:
                        self.published[event.id] = event
                        for sub in self._subs():
                            if sub.is_open and sub.is_entered:
                                sub.later.append(event.id)
                    await self.clients[at].talker.send("EVENT", event)
            case Ask(at):
                await self.clients[at].ask(step, self.acknowledged())
            case Close(at, sub_id):
                await self.clients[at].close(sub_id)
            case Link(at, is_down, most):
                sluice = self.homes[at].down if is_down else self.homes[at].up
                if most is None:
                    sluice.open()
                else:
                    if most == 0:
                        sluice.shut()
                    sluice.let(most)
            case Disk(goes_on):
                if goes_on:
                    self.held.go_on()
                else:
                    self.held.hold()
            case Pause():
                await wait_all_tasks_blocked()
                for sub in self._subs():
                    sub.is_entered = True

    def _subs(self) -> list[Sub]:
        return [sub for client in self.clients for sub in client.subs.values()]

    async def finish(self) -> None:
        self.held.go_on()
        for home in self.homes:
            home.up.open()
            home.down.open()
        await wait_all_tasks_blocked()
        for client in self.clients:
            assert -1 not in client.counted.values()
            assert all(sub.has_ended for sub in client.subs.values() if sub.is_open)

    def judge(self, standing: set[str], *, may_miss: bool) -> None:
        """Each subscription against all that was said, and what is stored at the end.

        Workers that may miss what they do not read find it in the file, if it is still there.
        """
        stored = self.acknowledged(new=True)
        for sub in self._subs():

            def wants(event_id: str, sub: Sub = sub) -> bool:
                return naive_match(sub.filter_, self.published[event_id])

            times = Counter(sub.stored + sub.live)
            ephemeral = {event_id for event_id in times if self.published[event_id].kind == 20_001}
            assert all(number == 1 for event_id, number in times.items() if event_id not in ephemeral), "once"
            assert all(map(wants, times)), "nothing that it did not ask for"
            if not sub.is_open:
                continue
            assert set(filter(wants, sub.known & standing)) <= set(sub.stored), "all that was acknowledged before"
            missed = {one for one in sub.later if one in stored and wants(one)} - times.keys()
            if may_miss:
                missed &= standing
            assert missed == set(), "all that was published later"


@asynccontextmanager
async def worker(household: Household, place: int) -> AsyncIterator[tuple[Home, Client]]:
    """A whole relay over a member's store, and a client of it."""
    rules = Rules(Limits(), PolicyOptions(), MemberOptions(), RelayInfo(url=URL), URL)
    async with (
        household.joined(place) as home,
        open_relay(home.store, rules=rules, clock=household.clock, scoreboard=home.scoreboard) as relay,
        trio.open_nursery() as nursery,
    ):
        listener, stop = MemoryListener(), trio.Event()
        server = served(relay, scoreboard=home.scoreboard)
        await nursery.start(server.serve, [listener], stop)
        async with Door(relay, server, listener, stop).client() as talker, trio.open_nursery() as reading:
            client = Client(talker)
            reading.start_soon(client.read)
            yield home, client
            reading.cancel_scope.cancel()
        stop.set()


async def play(script: Sequence[Step], may_miss: bool) -> None:
    async with open_household(2, clock=lambda: NOW) as household, AsyncExitStack() as working:
        homes, clients = zip(
            *[await working.enter_async_context(worker(household, place)) for place in (0, 1)], strict=True
        )
        twins = Twins(HeldFile(household), homes, clients)
        for step in (Ask(0, "all", 0), Ask(1, "all", 0), Pause(), *script):
            await twins.take(step)
        await twins.finish()
        standing = {msgspec.json.decode(json)["id"] async for page in household.file.scan() for json in page}
        twins.judge(standing, may_miss=may_miss)
        assert standing <= twins.acknowledged()


@pytest.mark.slow
@pytest.mark.parametrize("number", [30, pytest.param(100, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("most_unread", [2**23, 400], ids=["told of all", "told where to read on"])
def test_whatever_comes_between_two_workers_they_are_one_relay(
    number: int, most_unread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_threads_inline(monkeypatch)
    run_threads_of_stores_inline(monkeypatch)
    monkeypatch.setattr(kept.keeper, "MOST_UNREAD", most_unread)

    @settings(max_examples=examples(number))
    @given(scripts)
    def check(script: list[Step]) -> None:
        trio.run(play, script, most_unread < 2**20, clock=MockClock())

    check()
