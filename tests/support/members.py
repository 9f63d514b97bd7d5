"""Members of one keeper in one process: their links are streams in memory, their file and their scoreboard are real."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, cast

import outcome
import pytest
import trio
import trio.testing

from trio_relay import Event, Saved, SqliteOptions, open_sqlite
from trio_relay.link import Link
from trio_relay.scoreboard import Scoreboard
from trio_relay.store import kept, sqlite

T = TypeVar("T")


@asynccontextmanager
async def open_members(
    number: int, most: int = 1_000, *, clock: Callable[[], float] = time.time, **settings: Any
) -> AsyncIterator[list[kept.KeptStore]]:
    """So many stores that one keeper keeps, in a folder of their own."""
    async with open_household(number, most, clock=clock, **settings) as household, AsyncExitStack() as members:
        yield [(await members.enter_async_context(household.joined(place))).store for place in range(number)]


@dataclass(frozen=True)
class Household:
    """A keeper, and what its members share with it.

    Attributes:
        number: how many members there may be.
        file: what is kept.
    """

    number: int
    keeper: kept.Keeper
    file: sqlite.SqliteStore
    options: SqliteOptions
    scoreboard: Scoreboard
    clock: Callable[[], float]

    @asynccontextmanager
    async def joined(self, place: int) -> AsyncIterator[Home]:
        """One more member."""
        near, far = map(Sluice, trio.testing.memory_stream_pair())
        with Scoreboard.open(os.dup(self.scoreboard.fd), place, self.number) as shared:
            link = Link(near)
            async with (
                kept.open_kept(self.options, link, shared, clock=self.clock) as store,
                trio.open_nursery() as nursery,
            ):
                far_link = Link(far)
                member = self.keeper.join(far_link)
                home = Home(store, member, shared, near, far)
                store.begin(member.newest)
                nursery.start_soon(link.run, store.tells)
                nursery.start_soon(home.serve, far_link)
                yield home
                nursery.cancel_scope.cancel()


@dataclass(frozen=True)
class Home:
    """A member of a household, and both ends of its link.

    Attributes:
        up: what it sends goes through here.
        down: what it is told goes through here.
    """

    store: kept.KeptStore
    member: kept.Member
    scoreboard: Scoreboard
    up: Sluice
    down: Sluice
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def serve(self, link: Link) -> None:
        """The keeper's side of its link."""
        with self._scope:
            await link.run(self.member.tells, self.member.calls)
        self.member.leave()

    def cut(self) -> None:
        """Have the keeper hang up."""
        self._scope.cancel()


class Sluice(trio.abc.Stream):
    """A stream that a test shuts and opens: what is sent waits for it.

    Args:
        stream: what it sends into; closed with it.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._room: int | None = None
        self._changed = trio.Event()

    def shut(self) -> None:
        """Let nothing through from now on."""
        self._set(0)

    def let(self, most: int) -> None:
        """Let so many bytes more through, if it is shut."""
        self._set(None if self._room is None else self._room + most)

    def open(self) -> None:
        """Let everything through."""
        self._set(None)

    def _set(self, room: int | None) -> None:
        self._room = room
        self._changed.set()
        self._changed = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        rest = bytes(data)
        while rest:
            while self._room == 0:
                await self._changed.wait()
            portion = rest[: self._room]
            rest = rest[len(portion) :]
            if self._room is not None:
                self._room -= len(portion)
            await self._stream.send_all(portion)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


@asynccontextmanager
async def open_household(
    number: int, most: int = 1_000, *, clock: Callable[[], float] = time.time, is_keeping: bool = True, **settings: Any
) -> AsyncIterator[Household]:
    """A keeper of a store in a folder of its own, for so many members.

    Args:
        number: how many may join.
        most: events of one commit.
        clock: the time of day.
        is_keeping: False if nothing is committed until a test has `keeper.run` run.
        settings: of the store.
    """
    with TemporaryDirectory() as folder, Scoreboard.create(number, 100) as scoreboard:
        options = SqliteOptions(path=f"{folder}/relay.db", synchronous="normal", readers=2, **settings)
        async with (
            open_sqlite(options, clock=clock, scoreboard=scoreboard) as store,
            trio.open_nursery() as keeping,
        ):
            keeper = kept.Keeper(store, most)
            if is_keeping:
                keeping.start_soon(keeper.run)
            yield Household(number, keeper, store, options, scoreboard, clock)
            keeping.cancel_scope.cancel()


class HeldFile:
    """Stands in for a keeper's store: counts what it saves at once, and holds it as long as a test wants.

    Args:
        household: whose keeper has this from now on.
    """

    def __init__(self, household: Household) -> None:
        self.batches: list[list[Event]] = []
        """What it was asked to save, one list for each commit."""
        self._file = household.file
        self._going_on = trio.Event()
        self._going_on.set()
        household.keeper.store = cast("kept.keeper.KeepableStore", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def hold(self) -> None:
        """Begin no commit from now on."""
        if self._going_on.is_set():
            self._going_on = trio.Event()

    def go_on(self) -> None:
        """Begin those that were held."""
        self._going_on.set()

    async def save_many(self, events: Sequence[Event]) -> list[Saved]:
        self.batches.append(list(events))
        await self._going_on.wait()
        return await self._file.save_many(events)


class Ear:
    """An audience that remembers what it hears."""

    is_listening = True

    def __init__(self) -> None:
        self.noted: list[Event] = []
        self.delivered: list[Event] = []
        self.decisions = 0
        self.gaps = 0
        self._hearing = trio.Event()
        self._hearing.set()

    def note(self, events: Sequence[Event]) -> None:
        self.noted += events

    async def deliver(self, events: Sequence[Event]) -> None:
        self.delivered += events
        await self._hearing.wait()

    def decided(self) -> None:
        self.decisions += 1

    def missed(self) -> None:
        self.gaps += 1

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Have deliveries wait."""
        self._hearing = trio.Event()
        yield
        self._hearing.set()


def run_threads_of_stores_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a store's threads work in the loop: a virtual clock cannot see that a thread is busy, and would jump on."""

    def start_thread_soon(work: Callable[[], T], deliver: Callable[[outcome.Outcome[T]], object]) -> None:
        deliver(outcome.capture(work))

    async def run(_worker: sqlite.threads.Worker, work: Callable[[], T]) -> T:
        await trio.lowlevel.checkpoint_if_cancelled()
        result = work()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return result

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", start_thread_soon)
    monkeypatch.setattr(sqlite.threads.Worker, "run", run)
