"""Rounds of retention: what the rules let go is forgotten, beside everything else, on a twentieth of a core.

After each piece of work, a portion of a survey or a removal, a round rests 19 times as long, or twice that: so a busy
relay, in which the work takes longer, is given more. Where several relays share a store, each makes its rounds. That
does no harm, as an event is forgotten by its id and only once; they begin at different times, by chance.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog
import trio

from trio_relay.intervals import Interval
from trio_relay.pipeline.statistics import RetentionStatistics
from trio_relay.policy.forgetting import WHOLE_STORE, Walk, rooms_of
from trio_relay.policy.retention import Floors
from trio_relay.policy.rules import Rules
from trio_relay.policy.sentences import WHOLE_STORE_IN_WORDS, rule_in_words
from trio_relay.store.base import StoreError
from trio_relay.store.surveyed import MOST_FORGOTTEN, Forgettable, Surveyable
from trio_relay.turns import Turn

log = structlog.get_logger("trio_relay.pipeline")

_RESTS: Final = 19
"""How many times as long as it works a round rests."""
_WRITTEN: Final = 2
"""How often what a removal writes is written: into the log, and into the file beside all else."""
_FIRST_SECONDS: Final = 60.0
"""The first round begins after once or twice so many seconds, or the time between rounds if that is less."""
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

    async def rest(self, times: int = 1) -> None:
        """Rest for what was done since the last rest, so many times as long as usual."""
        await trio.sleep((trio.current_time() - self._began) * self._rests * times)
        self._began = trio.current_time()


@dataclass(frozen=True, slots=True)
class RuleFindings:
    """What one rule lets go: how many events and bytes, and between which times, in seconds since 1970."""

    rule: str
    """Its place, from 1 on, as in the configuration; `store` for the bounds of the whole store."""
    text: str
    """The rule in words."""
    events: int
    bytes: int
    """0 on a store where sizes cost and play no part in the rules."""
    oldest: int
    newest: int


def findings_of(walk: Walk, rules: Rules) -> list[RuleFindings]:
    """What a walk has found to go, rule by rule; none of those that let nothing go."""
    return [
        RuleFindings(
            rule_name(place),
            WHOLE_STORE_IN_WORDS if place == WHOLE_STORE else rule_in_words(rules.retention, place),
            *(one.events, one.bytes, one.oldest, one.newest),
        )
        for place, one in sorted(walk.forgotten.items(), key=lambda item: item[0] % _LAST)
    ]


_LAST: Final = 2**32
"""More than there are rules: so the bounds of the whole store come behind them."""


Forget: TypeAlias = Callable[[list[str]], Awaitable[int]]
"""Removes the events of at most `MOST_FORGOTTEN` ids; raises StoreError."""


async def go_through(
    store: Surveyable, rules: Rules, now: int, leisure: Leisure, forget: Forget | None, *, weighs: bool = False
) -> Walk:
    """Go through all that is stored, and have what the rules let go removed, or only find it.

    Args:
        store: is gone through, once or twice (`forgetting`).
        rules: what is kept; they know who is trusted.
        now: seconds since 1970.
        leisure: how much it rests.
        forget: removes what is found; None: nothing is removed.
        weighs: True: sizes are told, whether rules ask for them or not.

    Raises:
        StoreError: the store failed; a part may be forgotten.
    """
    rooms = None
    if rules.retention.bounds_all:
        census = Walk(rules, now)
        await _walk(store, rules, census, leisure, None, weighs=weighs)
        rooms = rooms_of(census.kept, rules.retention.max_events, rules.retention.max_bytes)
    walk = Walk(rules, now, rooms)
    await _walk(store, rules, walk, leisure, forget, weighs=weighs)
    return walk


async def _walk(
    store: Surveyable, rules: Rules, walk: Walk, leisure: Leisure, forget: Forget | None, *, weighs: bool
) -> None:
    retention, gone, turn = rules.retention, list[str](), Turn()
    weighs = weighs or retention.weighs
    survey = store.survey(walk.newest_that_may_go, tagged=retention.tagged_kinds, weighs=weighs)
    async with aclosing(survey) as portions:
        async for portion in portions:
            for event in portion:
                if walk.goes(event) and forget is not None:
                    gone.append(event.id)
                if turn.is_over:
                    await turn.give()
            while forget is not None and len(gone) >= MOST_FORGOTTEN:
                await leisure.rest()
                await forget(gone[:MOST_FORGOTTEN])
                del gone[:MOST_FORGOTTEN]
                await leisure.rest(_WRITTEN)
            await leisure.rest()
    if forget is not None and gone:
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
        store: Forgettable,
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
        self._making = trio.Lock()
        self._round: trio.CancelScope | None = None
        self._waiting: trio.CancelScope | None = None
        self._share, self._most = 1.0, math.inf
        """How much is waited of the time between two rounds, and of how long a one at most."""
        self._rest = Interval(lambda: self._share * min(rules.retention.seconds, self._most))
        self._is_making_rounds = False
        self._forgotten = Counter[str]()
        self._last: int | None = None
        self._took: float | None = None
        self._failures = 0

    @property
    def seconds_left(self) -> float | None:
        """Until the next round; 0 while one is made, None if none ever is."""
        ends = self._rest.ends
        return None if not self._is_making_rounds else max(0.0, 0.0 if ends is None else ends - trio.current_time())

    @property
    def forgets(self) -> bool:
        """False if nothing is ever forgotten."""
        return self._rules.retention.forgets

    def statistics(self) -> RetentionStatistics:
        """How it goes."""
        return RetentionStatistics(dict(self._forgotten), self._last, self._took, self._failures)

    async def run(self) -> None:
        """Make one round after the other, until cancelled, and none while nothing is ever forgotten."""
        while True:
            with trio.CancelScope() as self._waiting:
                await self._make_rounds()

    def begin_anew(self) -> None:
        """Go by the rules as they have become: what was begun by others ends, and the next round comes soon; sync."""
        for scope in (self._round, self._waiting):
            if scope is not None:
                scope.cancel(reason="the rules of retention have changed")

    def look_again(self) -> None:
        """The time between two rounds may have changed; sync."""
        self._rest.changed()

    async def _make_rounds(self) -> None:
        self._is_making_rounds = self.forgets
        if not self.forgets:
            await trio.sleep_forever()
        await self._wait(1 + self._chance(), most=_FIRST_SECONDS)
        while True:
            await self._trust_known()
            try:
                await self.make()
            except StoreError as error:
                self._failures += 1
                log.warning("not all is forgotten that the rules of retention let go", error=str(error))
            await self._wait(1 + _SPREAD * (self._chance() - 0.5))

    async def _wait(self, share: float, most: float = math.inf) -> None:
        self._share, self._most = share, most
        await self._rest.wait()

    async def make(self) -> list[RuleFindings]:
        """Make a round now, or once the one that is made is over; gives what was forgotten, rule by rule.

        Raises:
            StoreError: the store failed; a part may be forgotten.
        """
        async with self._making:
            while True:
                with trio.CancelScope() as self._round:
                    return await self._make()

    async def _make(self) -> list[RuleFindings]:
        began = trio.current_time()
        walk = await go_through(self._store, self._rules, int(self._clock()), Leisure(), self._store.forget)
        floors = walk.floors()
        self._rules.take_floors(floors)
        self.follow(floors)
        self._last, self._took = int(self._clock()), trio.current_time() - began
        found = findings_of(walk, self._rules)
        by_rule = {one.rule: one.events for one in found}
        self._forgotten.update(by_rule)
        if found:
            size = sum(one.bytes for one in found)
            log.info("forgotten by retention", events=by_rule, bytes=size, seconds=round(self._took, 3))
        return found


def rule_name(place: int) -> str:
    """Name a rule by its place, from 1 on, as in the configuration; `store` for the bounds of the whole store."""
    return "store" if place == WHOLE_STORE else str(place + 1)
