"""The keeper's side of a conversation over streams in memory; its workers say and answer what a test has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing

from tests.support.keys import NOW
from tests.support.named_relay import rules_for
from tests.support.obedient_store import ObedientStore
from tests.support.operators import ADMIN
from trio_relay import MemberOptions, StoreError, open_relay
from trio_relay.config import check
from trio_relay.link import Calls, Link, Tells
from trio_relay.net.admin import api
from trio_relay.scoreboard import Scoreboard
from trio_relay.workers import conversations, instructions, statistics

CODE = "open sesame"
CONFIG = check({"net": {"listen": ["127.0.0.1:0"]}, "policy": {"admins": [ADMIN.pubkey]}})
NEWEST = 41
"""The number after which workers are told."""
TOLD = ("version", "begin", "rules", "config", "floors", "certificate", "stop")
"""What a worker is told."""


class Store(ObedientStore):
    """Keeps nothing that operators decide while it `refuses`, with these words."""

    refuses = ""

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        if self.refuses:
            raise StoreError(self.refuses)
        await super().put_metadata(changes)


class Part:
    """A worker's part in what all share."""

    newest = NEWEST

    def __init__(self, keeping: Keeping, link: Link) -> None:
        self._keeping = keeping
        self.tells: Tells = {"mark": self._mark}
        self.calls: Calls = {"twice": self._twice}
        keeping.present += 1

    async def _mark(self, payload: bytes) -> None:
        self._keeping.marks.append(payload)

    async def _twice(self, payload: bytes) -> bytes:
        return 2 * payload

    async def run(self) -> None:
        await trio.sleep_forever()

    def leave(self) -> None:
        self._keeping.present -= 1


class Worker:
    """What a test has a worker say, and what it was told.

    Attributes:
        told: names and payloads, in their order.
        answers: to questions of the keeper; a worker that has none for a question does not answer it.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.told: list[tuple[str, bytes]] = []
        self.answers: dict[str, bytes] = {"obey": b"", "settle": b"", "check": b""}
        self.asked: list[str] = []
        self.gone = trio.CancelScope()

    async def run(self) -> None:
        """Live until `gone` is cancelled."""
        with self.gone:
            await self.link.run(
                {name: self._taking(name) for name in TOLD},
                {name: self._answering(name) for name in ("obey", "settle", "statistics", "check")},
            )

    def _taking(self, name: str) -> Any:
        async def take(payload: bytes) -> None:
            self.told.append((name, payload))

        return take

    def _answering(self, name: str) -> Any:
        async def answer(_payload: bytes) -> bytes:
            self.asked.append(name)
            if name not in self.answers:
                await trio.sleep_forever()
            return self.answers[name]

        return answer

    def heard(self, name: str) -> list[bytes]:
        """What it was told by this name."""
        return [payload for told, payload in self.told if told == name]

    @property
    def beginning(self) -> instructions.Beginning:
        """How it was told to serve."""
        [payload] = self.heard("begin")
        return instructions.beginning_of(payload)


class Keeping:
    """A keeper, its relay over a store in memory, and its workers."""

    def __init__(self, nursery: trio.Nursery, scoreboard: Scoreboard) -> None:
        self.store = Store()
        self.present = 0
        """Workers that have a part."""
        self.marks: list[bytes] = []
        self.settled = 0
        """How often it was waited for what workers have sent."""
        self.killed: list[tuple[int, str]] = []
        self.ready: list[int] = []
        self.totals = statistics.Totals((1, 2), trio.current_time)
        self.conversations = conversations.Conversations(
            CONFIG,
            2,
            scoreboard,
            lambda number: [100 + number],
            lambda number, reason: self.killed.append((number, reason)),
            self.totals,
        )
        self.conversations.share(lambda link: Part(self, link), self._settle)
        self._nursery = nursery

    async def _settle(self) -> None:
        self.settled += 1

    async def worker(self, number: int, *, is_ready: bool = True) -> Worker:
        """One more worker, which has heard how to begin."""
        near, far = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self.conversations.converse, number, near, self.ready.append)
        worker = Worker(Link(far))
        self._nursery.start_soon(worker.run)
        if is_ready:
            worker.link.tell("ready", b"")
        await trio.testing.wait_all_tasks_blocked()
        return worker


@asynccontextmanager
async def keeping() -> AsyncIterator[Keeping]:
    """A keeper without workers so far; whoever is still there at the end goes."""
    with Scoreboard.create(2, 10) as scoreboard:
        async with trio.open_nursery() as nursery:
            kept = Keeping(nursery, scoreboard)
            rules = rules_for(admins=(ADMIN.pubkey,), members=MemberOptions(enabled=True, claims=(CODE,)))
            async with open_relay(kept.store, rules=rules, clock=lambda: NOW) as relay:
                kept.conversations.relay, kept.conversations.admin = relay, api.AdminApi(relay)
                relay.moderation.state.subscribe(kept.conversations.follow)
                yield kept
            nursery.cancel_scope.cancel()
