"""The keeper's side of what it says to its workers: they begin, go by the same lists, and ask what is decided once."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

import structlog
import trio

from trio_relay.config import Config
from trio_relay.link import Calls, Link, LinkEnded, Refused, Tells
from trio_relay.moderation.join_attempts import JoinAttempts
from trio_relay.net.admin.api import AdminApi
from trio_relay.net.http_responses import Response
from trio_relay.net.listeners import Preamble
from trio_relay.net.tls import CertifiedKey
from trio_relay.net.vitals import Vitals
from trio_relay.net.web.console import Console
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.lists import Change, ListName
from trio_relay.policy.retention import NO_FLOORS, Floors
from trio_relay.scoreboard import Scoreboard
from trio_relay.store.base import StoreError
from trio_relay.version import __version__
from trio_relay.workers import statistics
from trio_relay.workers.instructions import (
    Beginning,
    RelayHealth,
    RequestAnswer,
    changes_of,
    encode,
    joining_of,
    place_of,
    reported_of,
    request_of,
)
from trio_relay.workers.statistics import Totals

log = structlog.get_logger("trio_relay.workers")

_ANSWER_SECONDS: Final = 10.0
"""How long a worker may take to say that it goes by what it was told; then it is killed, and its clients with it."""
_KEEPERS_OWN: Final = {ListName.REPORTED_EVENTS, ListName.REMOVALS, ListName.ACTS}
"""Lists that no worker looks at."""
_REPORT_SECONDS: Final = 1.0
"""How long the metrics, and who looks at the relay, wait for a worker."""
_CHECK_SECONDS: Final = 2.0
"""How long the health waits for a worker, which may have to try the store out."""
_AGAIN_SECONDS: Final = 0.1
"""Numbers may be so old, and what is said of the health: whoever asks makes all workers answer."""


class WorkerPart(Protocol):
    """A worker's part in what all share: of the kept file, or of the hub in front of an index."""

    @property
    def newest(self) -> int:
        """The last number of an event before those that the worker is told of."""
        ...

    @property
    def tells(self) -> Tells:
        """What the link takes for it."""
        ...

    @property
    def calls(self) -> Calls:
        """What the link answers for it."""
        ...

    async def run(self) -> None:
        """Serve the worker until cancelled."""
        ...

    def leave(self) -> None:
        """The worker has gone."""
        ...


class Conversations:
    """All workers that are there now.

    Args:
        config: for workers to come.
        workers: how many there are to be.
        scoreboard: has a row for each.
        listeners: descriptors of each worker's listeners, by its number.
        kill: ends a worker that does not answer, by its number and for this reason.
        totals: what all of them have told of themselves.
    """

    def __init__(
        self,
        config: Config,
        workers: int,
        scoreboard: Scoreboard,
        listeners: Callable[[int], list[int]],
        kill: Callable[[int, str], None],
        totals: Totals,
    ) -> None:
        self._config = config
        self._workers = workers
        self._scoreboard = scoreboard
        self._listeners = listeners
        self._kill = kill
        self._totals = totals
        self._links: dict[int, Link] = {}
        self._ready: set[int] = set()
        self._is_stopping = False
        self._gathered = -math.inf
        self._attempts: JoinAttempts | None = None
        self._checking = trio.Lock()
        self._checked = -math.inf
        self._trouble = ""
        self._certified: CertifiedKey | None = None
        self._floors = NO_FLOORS
        self.preambles: list[Preamble] = []
        """What connections begin with, listener by listener; empty: with HTTP."""
        self.relay: Relay
        """Decides; there before the first worker is."""
        self.admin: AdminApi
        """Manages it."""
        self.console: Console
        """Manages it in a browser."""
        self.vitals: Vitals
        """How the whole relay does."""
        self.degraded: Callable[[], str | None] = lambda: None
        """What is worse than it should be beside the relay, or None."""

    def share(self, join: Callable[[Link], WorkerPart], settled: Callable[[], Awaitable[None]]) -> None:
        """Say what workers share, before the first one comes.

        Args:
            join: gives a worker its part in it.
            settled: waits until what they have sent to be saved is.
        """
        self._join_part = join
        self._settled = settled

    async def converse(self, number: int, stream: trio.abc.Stream, ready: Callable[[int], None]) -> None:
        """Speak with a worker until it is gone, or this is cancelled."""
        link = Link(stream)
        self._scoreboard.clear(number - 1)
        # Nothing may come between: the worker is told of all that follows the number in its beginning.
        part = self._join_part(link)
        beginning = Beginning(
            self._config,
            self._workers,
            part.newest,
            self._scoreboard.fd,
            self._listeners(number),
            self.preambles,
            self._certified,
            self._floors,
        )
        link.tell("version", __version__.encode())
        link.tell("begin", encode(beginning))
        self._tell_rules(link, self.relay.moderation.state.unstored())
        if self._is_stopping:
            link.tell("stop", b"")

        async def is_ready(_payload: bytes) -> None:
            self._ready.add(number)
            ready(number)

        tells = {**part.tells, "ready": is_ready, "reports": self._note_reports}
        self._links[number] = link
        self._totals.started(number)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(part.run)
                await link.run(tells, {**part.calls, **self._calls()})
                nursery.cancel_scope.cancel(reason="the worker is gone")
        finally:
            del self._links[number]
            self._ready.discard(number)
            part.leave()
            self._totals.ended(number)

    def _calls(self) -> Calls:
        return {
            "admin": self._manage,
            "console": self._show,
            "vitals": self._tell_vitals,
            "check": self._check,
            "join": self._join,
            "amend": self._amend,
        }

    def stop(self) -> None:
        """Tell all workers to end; sync."""
        self._is_stopping = True
        for link in self._links.values():
            link.tell("stop", b"")

    def follow(self, changes: Sequence[Change]) -> None:
        """Tell all workers of changes of the lists; sync."""
        for link in self._links.values():
            self._tell_rules(link, changes)

    def _tell_rules(self, link: Link, changes: Sequence[Change]) -> None:
        if changes := [change for change in changes if change.name not in _KEEPERS_OWN]:
            link.tell("rules", encode(changes))

    def take_config(self, config: Config) -> None:
        """Have all workers go by this configuration, those to come, too; the relay here does already; sync."""
        self._config = config
        self._floors = self.relay.rules.retention.floors
        for link in self._links.values():
            link.tell("config", encode(config))

    def take_floors(self, floors: Floors) -> None:
        """Have all workers refuse what has no more room, those to come, too; sync."""
        self._floors = floors
        for link in self._links.values():
            link.tell("floors", encode(floors))

    def take_certificate(self, certified: CertifiedKey) -> None:
        """Have all workers show this from now on, those to come, too; sync."""
        self._certified = certified
        for link in self._links.values():
            link.tell("certificate", encode(certified))

    async def obeyed(self) -> None:
        """Wait until all workers go by what they were told."""
        async with trio.open_nursery() as nursery:
            for number in self._ready:  # whoever is not hears of it before it serves
                nursery.start_soon(self._obey, number, self._links[number])

    async def _obey(self, number: int, link: Link) -> None:
        with trio.move_on_after(_ANSWER_SECONDS) as patience, suppress(LinkEnded):  # who is gone goes by nothing
            await link.call("obey")
        if patience.cancelled_caught:
            self._kill(number, f"did not answer for {_ANSWER_SECONDS:g} seconds")

    async def settled(self) -> None:
        """The same, and wait until what workers sent before that is saved, however long the store takes for it."""
        await self.obeyed()
        async with trio.open_nursery() as nursery:
            for number in self._ready:
                nursery.start_soon(self._settle, self._links[number])
        await self._settled()

    async def _settle(self, link: Link) -> None:
        with suppress(LinkEnded):
            await link.call("settle")

    async def gather(self) -> None:
        """Have all workers tell how they are, unless they just have; one that does not answer at once has not told."""
        now = trio.current_time()
        if now < self._gathered + _AGAIN_SECONDS:
            return
        self._gathered = now
        async with trio.open_nursery() as nursery:
            for number in self._ready:
                nursery.start_soon(self._ask, number, self._links[number])

    async def _ask(self, number: int, link: Link) -> None:
        with trio.move_on_after(_REPORT_SECONDS), suppress(LinkEnded):
            self._totals.told(number, statistics.decode(await link.call("statistics")))

    async def ask_all(self, question: str, payload: bytes) -> list[bytes]:
        """Put a question to all workers; gives what those answer that do so at once, in no order."""
        answers: list[bytes] = []
        async with trio.open_nursery() as nursery:
            for number in self._ready:
                nursery.start_soon(self._hear, self._links[number], question, payload, answers)
        return answers

    async def _hear(self, link: Link, question: str, payload: bytes, answers: list[bytes]) -> None:
        with trio.move_on_after(_REPORT_SECONDS), suppress(LinkEnded):
            answers.append(await link.call(question, payload))

    async def _manage(self, payload: bytes) -> bytes:
        request = request_of(payload)
        return await self._decide(lambda: self.admin.answer(request), changes=True)

    async def _show(self, payload: bytes) -> bytes:
        place = place_of(payload)
        return await self._decide(lambda: self.console.answer(place), changes=place.request.method == "POST")

    async def _decide(self, answer: Callable[[], Awaitable[Response]], *, changes: bool) -> bytes:
        await self.gather()  # it may ask for numbers
        try:
            response = await answer()
        except Exception:  # as where there is one process: whoever called is let down, and nobody else
            log.exception("management failed")
            response = Response(500, b"the relay has failed\n")
        if changes:
            await self.obeyed()  # what was decided holds on all workers
        return encode(response)

    async def _tell_vitals(self, payload: bytes) -> bytes:
        match payload:
            case b"hour":
                return encode(await self.vitals.over("hour"))
            case b"day":
                return encode(await self.vitals.over("day"))
            case _:
                return encode([await self.vitals.now()])

    async def _check(self, _payload: bytes) -> bytes:
        return encode(RelayHealth(await self.trouble(), self.degraded() or ""))

    async def trouble(self) -> str:
        """Why the keeper or a worker cannot store events now; empty if all can that answer.

        Anybody may ask, and all workers are asked: whoever comes meanwhile or right after gets the same answer.
        """
        async with self._checking:
            if trio.current_time() >= self._checked + _AGAIN_SECONDS:
                self._trouble = await self._ask_all_for_trouble()
                self._checked = trio.current_time()
        return self._trouble

    async def _ask_all_for_trouble(self) -> str:
        found = [await self.relay.check() or ""]
        async with trio.open_nursery() as nursery:
            for number in self._ready:
                nursery.start_soon(self._ask_trouble, self._links[number], found)
        return next(filter(None, found), "")

    async def _ask_trouble(self, link: Link, found: list[str]) -> None:
        with trio.move_on_after(_CHECK_SECONDS), suppress(LinkEnded):
            found.append((await link.call("check")).decode())

    async def _join(self, payload: bytes) -> bytes:
        joining, now = joining_of(payload), self.relay.now()
        # A worker counts what its own clients try: who has clients everywhere must not have as many tries everywhere.
        self._attempts = self._attempts or JoinAttempts(self.relay.rules)
        if (refusal := self._attempts.take(joining.request, joining.origin, now)) is not None:
            return encode(RequestAnswer(False, str(refusal)))
        verdict = RequestAnswer(*await self.relay.moderation.join_requests.answer(joining.request))
        await self.obeyed()
        return encode(verdict)

    async def _amend(self, payload: bytes) -> bytes:
        try:
            await self.relay.moderation.state.amend(changes_of(payload))
        except StoreError as error:
            raise Refused(str(error)) from error
        await self.obeyed()
        return b""

    async def _note_reports(self, payload: bytes) -> None:
        reported = reported_of(payload)
        self.relay.moderation.note_reports(reported.reports, reported.origins)
