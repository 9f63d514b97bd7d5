"""Hooks in Python: functions of whoever runs the relay, asked about events, requests and connections.

A hook answers as `HookAnswer` says. What goes wrong in it stays in it: it is logged and counted, and means what
`plugins.fail` says. A plain function holds up the whole relay while it runs, so one that takes long is told of; a
coroutine has a deadline.
"""

from __future__ import annotations

import inspect
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from math import exp
from typing import Final, Literal, TypeAlias

import msgspec
import structlog
import trio

from trio_relay.nostr.event import Event, decode
from trio_relay.nostr.filter import Filter
from trio_relay.plugins.base import ACCEPTED, Action, Source, Verdict
from trio_relay.plugins.judges import UNJUDGED, Judges
from trio_relay.store.base import Queryable
from trio_relay.turns import Turn

log = structlog.get_logger("trio_relay.plugins")

HOOKS: Final = {"on_event": ("event", "source"), "on_filters": ("filters", "source"), "on_connect": ("source",)}
"""Every hook, and what it is given."""
HELD_UP_SECONDS: Final = 0.01
"""A plain function that takes longer is told of: everybody waits meanwhile."""
LOADED: Final = "trio_relay_hooks_"
"""What the name of a module begins with that was loaded from a file, so that it takes no other module's place."""
_LOG_SECONDS: Final = 60.0
_RATE_SECONDS: Final = 10.0
_DEFAULT_EVENTS: Final = 500
_MOST_EVENTS: Final = 5_000


class Reject(msgspec.Struct, frozen=True):
    """Refuse it.

    Attributes:
        message: for the client, as NIP-01 has it: `pow: 20 bits are needed`; without a known prefix it gets `blocked:`,
            and where it is empty, general words.
    """

    message: str = ""


class Shadow(msgspec.Struct, frozen=True):
    """Let the client believe that it was accepted: nobody else ever hears of an event, and a request finds nothing."""


HookAnswer: TypeAlias = bool | str | Reject | Shadow | Verdict | None
"""What a hook answers: None or True accept; False, a text or `Reject` refuse; `Shadow` is not for connections."""
FilterHookAnswer: TypeAlias = HookAnswer | Sequence[Filter]
"""What `on_filters` answers, too: filters that take the place of those that were asked; none: nothing is found."""


class HooksRefused(Exception):
    """Hooks that the relay cannot ask, with the reason for the operator."""


class HookedRelay:
    """What hooks may ask of the relay that asks them.

    Args:
        store: has the events, also those that only some may read.
        clock: seconds since 1970.
    """

    def __init__(self, store: Queryable, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._asked, self._asked_at = 0.0, 0.0

    def now(self) -> int:
        """Seconds since 1970, by the clock that the relay's own rules go by."""
        return int(self._clock())

    async def query(self, *filters: Filter) -> list[Event]:
        """Return the stored events that match any of the filters, newest first.

        A filter without a limit gets 500, or as many as there can be of its ids or addresses; 5,000 are the most.

        Raises:
            StoreError: the store could not answer.
        """
        asked = [one.with_limit(default=_DEFAULT_EVENTS, most=_MOST_EVENTS) for one in filters]
        async with aclosing(self.events(*asked)) as found:
            return [event async for event in found]

    async def events(self, *filters: Filter) -> AsyncGenerator[Event, None]:
        """Yield the same one at a time, so that large events need not be in memory together; with any limit.

        To be used within `contextlib.aclosing`. Others have their turns in between.

        Raises:
            StoreError: from a step, when the store could not answer.
        """
        asked = [one if one.limit else one.with_limit(default=_DEFAULT_EVENTS, most=_MOST_EVENTS) for one in filters]
        turn = Turn()
        async with aclosing(self._store.query(asked)) as pages:
            async for page in pages:
                for json in page:
                    yield decode(json)
                    if turn.is_over:
                        await turn.give()

    def events_per_second(self) -> float:
        """Return of how many events hooks were asked in each of the last ten seconds or so: older ones count less."""
        return self._decayed() / _RATE_SECONDS

    def note_event(self) -> None:
        """Count an event that a hook is asked about."""
        self._asked, self._asked_at = self._decayed() + 1.0, trio.current_time()

    def _decayed(self) -> float:
        return self._asked * exp((self._asked_at - trio.current_time()) / _RATE_SECONDS)


class Hooks:
    """Asks the hooks of one object, mostly a module; a judge of events, requests and connections.

    Args:
        asked: has any of `on_event(event, source)`, `on_filters(filters, source)` and `on_connect(source)`, each of
            them plain or async.
        relay: what it may ask; is told of each event.
        timeout_seconds: what an async hook may take.
        fail: what is done when a hook fails: open, accept; closed, refuse.
        stopwatch: seconds of work.

    Raises:
        HooksRefused: the object has no hook, one that nobody asks, or one that takes something else.
    """

    def __init__(
        self,
        asked: object,
        relay: HookedRelay | None = None,
        *,
        timeout_seconds: float = 10.0,
        fail: Literal["open", "closed"] = "closed",
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name = name_of(asked)
        self._hooks = hooks_of(asked)
        self._relay = relay
        self._timeout_seconds = timeout_seconds
        self._fallen = ACCEPTED if fail == "open" else UNJUDGED
        self._stopwatch = stopwatch
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._silent_until: dict[tuple[str, str], float] = {}

    @property
    def judges(self) -> Judges:
        """These hooks as those whom a relay asks: only about what there is a hook for."""
        return Judges(
            events=self if "on_event" in self._hooks else None,
            filters=self if "on_filters" in self._hooks else None,
            connections=self if "on_connect" in self._hooks else None,
            hook_outcomes=self.outcomes,
        )

    async def judge_event(self, event: Event, source: Source) -> Verdict:
        """What `on_event` says of an event."""
        if self._relay is not None:
            self._relay.note_event()
        return await self._ask("on_event", event, source)

    async def judge_filters(self, filters: Sequence[Filter], source: Source) -> Verdict:
        """What `on_filters` says of what is asked."""
        return await self._ask("on_filters", filters, source)

    async def judge_connection(self, source: Source) -> Verdict:
        """What `on_connect` says of who wants to connect."""
        return await self._ask("on_connect", source)

    def outcomes(self) -> dict[tuple[str, str], int]:
        """How often each hook has answered what, or failed how, by hook and outcome."""
        return dict(self._outcomes)

    async def _ask(self, hook: str, *given: object) -> Verdict:
        ask = self._hooks.get(hook)
        if ask is None:
            return ACCEPTED
        try:
            answer = self._timed(hook, ask, *given)
            if answer is not None and isinstance(answer, Awaitable):
                with trio.move_on_after(self._timeout_seconds) as patience:
                    answer = await answer
                if patience.cancelled_caught:
                    return self._fall(hook, "too_slow", seconds=self._timeout_seconds)
            verdict = verdict_of(answer, hook)
        except TypeError as error:
            return self._fall(hook, "wrong_answer" if isinstance(error, WrongAnswer) else "raised", exc_info=error)
        except Exception as error:
            return self._fall(hook, "raised", exc_info=error)
        self._outcomes[hook, "narrow" if verdict.filters is not None else verdict.action.value] += 1
        return verdict

    def _timed(self, hook: str, ask: Callable[..., object], *given: object) -> object:
        began = self._stopwatch()
        try:
            return ask(*given)
        finally:
            if (seconds := self._stopwatch() - began) > HELD_UP_SECONDS:
                self._note(hook, "held_up", milliseconds=round(1_000 * seconds))

    def _fall(self, hook: str, fault: str, **more: object) -> Verdict:
        self._note(hook, fault, **more)
        return self._fallen

    def _note(self, hook: str, fault: str, **more: object) -> None:
        """Count what went wrong, and tell the operator of the first of its sort, and of one a minute."""
        self._outcomes[hook, fault] += 1
        now = trio.current_time()
        if now >= self._silent_until.get((hook, fault), now):
            self._silent_until[hook, fault] = now + _LOG_SECONDS
            times = self._outcomes[hook, fault]
            log.warning(f"a hook {_FAULTS[fault]}", hook=f"{self.name}.{hook}", times=times, **more)


_FAULTS: Final = {
    "raised": "failed",
    "too_slow": "took too long, and was cancelled",
    "wrong_answer": "gave an answer that means nothing",
    "held_up": "held up the whole relay",
}


class WrongAnswer(TypeError):
    """A hook has answered what it cannot."""


def verdict_of(answer: object, hook: str) -> Verdict:
    """Return what the answer of a hook means.

    Raises:
        WrongAnswer: nothing.
    """
    if answer is None or answer is True:
        return ACCEPTED
    verdict: Verdict | None = None
    match answer:
        case False:
            verdict = Verdict(Action.REJECT)
        case str(message) | Reject(message=message):
            verdict = Verdict(Action.REJECT, message)
        case Shadow():
            verdict = Verdict(Action.SHADOW_REJECT)
        case Verdict():
            verdict = answer
        case list() | tuple():
            filters = tuple(one for one in answer if isinstance(one, Filter))
            verdict = Verdict(filters=filters) if len(filters) == len(answer) else None
    if (
        verdict is None
        or (verdict.filters is not None and hook != "on_filters")
        or (verdict.action is Action.SHADOW_REJECT and hook == "on_connect")
    ):
        raise WrongAnswer(f"{hook} cannot answer {_shown(answer)}")
    return verdict


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def name_of(asked: object) -> str:
    """Return what the operator calls an object that has hooks: a module's name, or that of a class."""
    return asked.__name__.removeprefix(LOADED) if inspect.ismodule(asked) else type(asked).__name__


def hooks_of(asked: object) -> Mapping[str, Callable[..., object]]:
    """Return the hooks of an object by name.

    Raises:
        HooksRefused: it has none, one that nobody asks, or one that takes something else.
    """
    name = name_of(asked)
    named = [attribute for attribute in dir(asked) if attribute.startswith("on_")]
    found = {attribute: hook for attribute in named if callable(hook := getattr(asked, attribute))}
    for attribute in found:
        if attribute not in HOOKS:
            raise HooksRefused(f"{name}.{attribute}: there is no such hook; there are {', '.join(HOOKS)}")
        check_call(f"{name}.{attribute}", found[attribute], HOOKS[attribute])
    if not found:
        raise HooksRefused(f"{name}: has none of {', '.join(HOOKS)}")
    return found


def check_call(name: str, function: Callable[..., object], given: Sequence[str]) -> None:
    """Raise `HooksRefused` if a function cannot be called with so many arguments, by place."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # of some functions written in C nothing is known
        return
    try:
        signature.bind(*given)
    except TypeError:
        raise HooksRefused(
            f"{name}: takes ({', '.join(signature.parameters)}), and is called with ({', '.join(given)})"
        ) from None
