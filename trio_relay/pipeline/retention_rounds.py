"""Rounds of retention: what the rules let go is forgotten, beside everything else, on a twentieth of a core.

After each piece of work, a portion of a survey or a removal, a round rests 19 times as long: so a busy relay, in which
the work takes longer, is given more. Where several relays share a store, each makes its rounds. That does no harm, as
an event is forgotten by its id and only once; they begin at different times, by chance.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final

import structlog
import trio

from trio_relay.pipeline.statistics import RetentionStatistics
from trio_relay.policy.forgetting import WHOLE_STORE, Walk, rooms_of
from trio_relay.policy.retention import Floors
from trio_relay.policy.rules import Rules
from trio_relay.store.base import StoreError
from trio_relay.store.surveyed import MOST_FORGOTTEN, Surveyable
from trio_relay.turns import Turn

log = structlog.get_logger("trio_relay.pipeline")

_RESTS: Final = 19
"""How many times as long as it works a round rests."""
_FIRST_SECONDS: Final = 60.0
"""The first round begins within so many seconds, or within the time between rounds if that is less."""
_SPREAD: Final = 0.2
"""Of the time between rounds: so much it is more or less, at most half of it each way."""


class Leisure:
    """Work of which a core is to see a twentieth.

    Args:
        rests: how many times as long as it works it rests.
    """

    def __init__(self, rests: int = _RESTS) -> None:
        self._rests = rests
        self._began = trio.current_time()

    async def rest(self) -> None:
        """Rest for what was done since the last rest."""
        await trio.sleep((trio.current_time() - self._began) * self._rests)
        self._began = trio.current_time()


async def go_through(store: Surveyable, rules: Rules, now: int, leisure: Leisure, *, forgets: bool) -> Walk:
    """Go through all that is stored, and forget what the rules let go, or only find it.

    Args:
        store: is gone through, once or twice (`forgetting`).
        rules: what is kept; they know who is trusted.
        now: seconds since 1970.
        leisure: how much it rests.
        forgets: False: nothing is removed.

    Raises:
        StoreError: the store failed; a part may be forgotten.
    """
    rooms = None
    if rules.retention.bounds_all:
        census = Walk(rules, now)
        await _walk(store, rules, census, leisure, _nothing)
        rooms = rooms_of(census.kept, rules.retention.max_events, rules.retention.max_bytes)
    walk = Walk(rules, now, rooms)
    await _walk(store, rules, walk, leisure, store.forget if forgets else _nothing)
    return walk


async def _nothing(_ids: list[str]) -> int:
    return 0


async def _walk(
    store: Surveyable, rules: Rules, walk: Walk, leisure: Leisure, forget: Callable[[list[str]], Awaitable[int]]
) -> None:
    retention, gone, turn = rules.retention, list[str](), Turn()
    survey = store.survey(walk.newest_that_may_go, tagged=retention.tagged_kinds, weighs=retention.weighs)
    async with aclosing(survey) as portions:
        async for portion in portions:
            for event in portion:
                if walk.goes(event):
                    gone.append(event.id)
                if turn.is_over:
                    await turn.give()
            while len(gone) >= MOST_FORGOTTEN:
                await leisure.rest()
                await forget(gone[:MOST_FORGOTTEN])
                del gone[:MOST_FORGOTTEN]
            await leisure.rest()
    if gone:
        await forget(gone)


class RetentionRounds:
    """Makes the rounds.

    Args:
        store: what is gone through.
        rules: what is kept.
        clock: seconds since 1970.
        trust_known: waits until it is known who is trusted: before that nobody is.
        chance: gives a number from 0 up to 1.
    """

    def __init__(
        self,
        store: Surveyable,
        rules: Rules,
        clock: Callable[[], float],
        trust_known: Callable[[], Awaitable[None]],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.follow: Callable[[Floors], None] = lambda _floors: None
        """Called after each round with what has no more room now; sync."""
        self._store = store
        self._rules = rules
        self._clock = clock
        self._trust_known = trust_known
        self._chance = chance
        self._hurry = trio.Event()
        self._next: float | None = None
        self._forgotten = Counter[str]()
        self._last: int | None = None
        self._took: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """Until the next round; 0 while one is made, None if none ever is."""
        return None if self._next is None else max(0.0, self._next - trio.current_time())

    def hurry(self) -> bool:
        """Have the next round made now, or once this one is over; False if none ever is; sync."""
        self._hurry.set()
        return self._next is not None

    def statistics(self) -> RetentionStatistics:
        """How it goes."""
        return RetentionStatistics(dict(self._forgotten), self._last, self._took)

    async def run(self) -> None:
        """Make one round after the other, until cancelled; return at once if nothing is ever forgotten."""
        retention = self._rules.retention
        if not retention.forgets:
            return
        await self._wait(min(retention.seconds, _FIRST_SECONDS) * self._chance())
        while True:
            await self._trust_known()
            try:
                await self._make()
            except StoreError as error:
                log.warning("not all is forgotten that the rules of retention let go", error=str(error))
            await self._wait(retention.seconds * (1 + _SPREAD * (self._chance() - 0.5)))

    async def _wait(self, seconds: float) -> None:
        self._next = trio.current_time() + seconds
        with trio.move_on_at(self._next):
            await self._hurry.wait()
        self._hurry = trio.Event()
        self._next = trio.current_time()

    async def _make(self) -> None:
        began = trio.current_time()
        walk = await go_through(self._store, self._rules, int(self._clock()), Leisure(), forgets=True)
        floors = walk.floors()
        self._rules.take_floors(floors)
        self.follow(floors)
        self._last, self._took = int(self._clock()), trio.current_time() - began
        for place, one in walk.forgotten.items():
            self._forgotten[rule_name(place)] += one.events
        if walk.forgotten:
            by_rule = {rule_name(place): one.events for place, one in sorted(walk.forgotten.items())}
            size = sum(one.bytes for one in walk.forgotten.values())
            log.info("forgotten by retention", events=by_rule, bytes=size, seconds=round(self._took, 3))


def rule_name(place: int) -> str:
    """Name a rule by its place, from 1 on, as in the configuration; `store` for the bounds of the whole store."""
    return "store" if place == WHOLE_STORE else str(place + 1)
