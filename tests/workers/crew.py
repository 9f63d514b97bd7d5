"""A keeper and its workers in one process: each of them is whole, and only their links and listeners are memory."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import trio
import trio.testing

from tests.support.keys import NOW
from tests.support.members import HeldFile, Household, Sluice, open_household, run_threads_of_stores_inline
from tests.support.named_relay import URL
from tests.support.operators import ADMIN
from tests.support.server import Door, MemoryListener, run_threads_inline
from trio_relay import MemberOptions, PolicyOptions, Relay, RelayInfo, Rules, Server, Store, logs, open_relay
from trio_relay.config import Config, StoreOptions
from trio_relay.configured import rules_of
from trio_relay.link import Link
from trio_relay.net import admin
from trio_relay.scoreboard import Scoreboard
from trio_relay.workers import conversations, home, overview, statistics, worker


@dataclass
class Crew:
    """All of them.

    Attributes:
        relay: the keeper's.
        held: can hold what the keeper is to commit.
        clock: the time of day on all of them.
        config: that all of them began with.
        killed: workers that did not answer.
    """

    household: Household
    held: HeldFile
    clock: Callable[[], float]
    killed: list[int] = field(default_factory=list)
    _listeners: dict[int, MemoryListener] = field(default_factory=dict)
    _rules: dict[int, Rules] = field(default_factory=dict)
    _relays: dict[int, Relay] = field(default_factory=dict)
    config: Config = field(init=False)
    relay: Relay = field(init=False)
    talks: conversations.Conversations = field(init=False)

    def door(self, number: int) -> Door:
        """Where clients come to a worker; its relay is the keeper's, which decides."""
        return Door(self.relay, cast("Server", None), self._listeners[number], trio.Event())

    def rules(self, number: int) -> Rules:
        """What a worker goes by."""
        return self._rules[number]

    def served(self, number: int) -> Relay:
        """What a worker's clients speak with."""
        return self._relays[number]

    @asynccontextmanager
    async def employed(self, number: int, *, is_ready: bool = True) -> AsyncIterator[Employed]:
        """One more worker, which serves unless it need not be ready."""
        near, far = map(Sluice, trio.testing.memory_stream_pair())
        ready = trio.Event()
        self._listeners[number] = MemoryListener()
        async with trio.open_nursery() as nursery:
            serving = worker.ServingWorker(number, Link(near))
            employed = Employed(near, far, ready)
            nursery.start_soon(employed.speak, self.talks, number, far)
            nursery.start_soon(serving.run)
            if is_ready:
                await ready.wait()
            yield employed
            nursery.cancel_scope.cancel()

    @contextmanager
    def in_one_process(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Give workers what they would inherit, and leave this process as it is."""

        class Inherited:
            @staticmethod
            def open(fd: int, number: int, workers: int) -> Scoreboard:
                return Scoreboard.open(os.dup(fd), number, workers)

        def noted(config: Config, listeners: list[Any]) -> Rules:
            number = next(number for number, one in self._listeners.items() if one is listeners[0])
            self._rules[number] = rules_of(config)
            return self._rules[number]

        @asynccontextmanager
        async def opened(store: Store, *arguments: Any, rules: Rules, **named: Any) -> AsyncIterator[Relay]:
            async with open_relay(store, *arguments, rules=rules, clock=self.clock, **named) as relay:
                self._relays[next(number for number, one in self._rules.items() if one is rules)] = relay
                yield relay

        @contextmanager
        def no_signals(*_signals: int) -> Iterator[AsyncIterator[int]]:
            async def never() -> AsyncIterator[int]:
                await trio.sleep_forever()
                yield 0

            yield never()

        with monkeypatch.context() as patch:
            patch.setattr(worker, "Scoreboard", Inherited)
            patch.setattr(worker, "inherited_listener", lambda fd, _is_ahead: self._listeners[fd])
            patch.setattr(worker, "rules_of", noted)
            patch.setattr(worker, "entrances_of", list)  # listeners in memory have no addresses
            patch.setattr(worker, "open_relay", opened)
            patch.setattr(worker, "tune_process", lambda _config: None)
            patch.setattr(logs, "configure", lambda *_args, **_named: None)
            patch.setattr(trio, "open_signal_receiver", no_signals)
            yield


@dataclass(frozen=True)
class Employed:
    """A worker's link, both directions, and whether it serves."""

    up: Sluice
    down: Sluice
    ready: trio.Event
    _scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    async def speak(self, talks: conversations.Conversations, number: int, stream: trio.abc.Stream) -> None:
        """The keeper's side, until the worker is gone."""
        with self._scope:
            await talks.converse(number, stream, lambda _number: self.ready.set())

    def end(self) -> None:
        """Have the keeper lose it."""
        self._scope.cancel()


@asynccontextmanager
async def open_crew(
    monkeypatch: pytest.MonkeyPatch,
    workers: int = 2,
    *,
    employed: int = 2,
    members: MemberOptions | None = None,
    clock: Callable[[], float] = lambda: NOW,
    **policy: Any,
) -> AsyncIterator[tuple[Crew, list[Employed]]]:
    """A keeper that has room for so many workers, and those of them that serve at first, from 1 on."""
    run_threads_inline(monkeypatch)
    run_threads_of_stores_inline(monkeypatch)
    async with open_household(workers, clock=clock) as household:
        crew = Crew(household, HeldFile(household), clock)
        config = crew.config = Config(
            relay=RelayInfo(url=URL),
            policy=PolicyOptions(admins=(ADMIN.pubkey,), challenge="connect", **policy),
            members=members or MemberOptions(),
            store=StoreOptions(path=household.options.path, synchronous="normal", readers=2),
        )
        talks = crew.talks = conversations.Conversations(
            config,
            workers,
            household.scoreboard,
            lambda number: [number],
            lambda number, _reason: crew.killed.append(number),
            statistics.Totals(range(1, workers + 1), trio.current_time),
        )
        talks.share(household.keeper.join, household.keeper.settled)
        store = home.HomeStore(household.file, talks.settled, household.keeper)
        async with open_relay(store, config.pipeline, rules=rules_of(config), clock=clock) as relay:
            crew.relay = talks.relay = relay
            talks.admin = admin.api.AdminApi(
                relay, overview.WorkersSight(relay.statistics, talks.ask_all, relay.explaining)
            )
            relay.moderation.state.subscribe(talks.follow)
            with crew.in_one_process(monkeypatch):
                async with AsyncExitStack() as at_work:
                    numbers = range(1, employed + 1)
                    yield crew, [await at_work.enter_async_context(crew.employed(number)) for number in numbers]
