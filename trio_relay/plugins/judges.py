"""All who judge: hooks first, then programs; what they are not asked about, and what holds when they do not answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Final

import trio

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.plugins.base import (
    ACCEPTED,
    Action,
    ConnectionJudge,
    EventJudge,
    FilterJudge,
    Source,
    Verdict,
)
from trio_relay.plugins.options import PluginOptions, words_of
from trio_relay.plugins.processes import Program, ProgramStatistics
from trio_relay.plugins.program import ProgramRun
from trio_relay.plugins.strfry import (
    BadAnswer,
    event_line,
    plain_address,
    request_line,
    verdict_on_event,
    verdict_on_request,
)

UNJUDGED: Final = Verdict(Action.REJECT, f"{Prefix.ERROR}: the relay could not judge this; try again later")
"""Where no answer comes and `plugins.fail` is closed."""
_HOOKS_WIDTH: Final = 64
_MOST_ADDRESSES: Final = 10_000


class Exemptions:
    """What is not judged.

    Args:
        options: kinds, networks and keys.
    """

    def __init__(self, options: PluginOptions) -> None:
        self.take_options(options)

    def take_options(self, options: PluginOptions) -> None:
        """Go by other options from now on."""
        self._only = frozenset(options.only_kinds)
        self._skipped = frozenset(options.skip_kinds)
        self._pubkeys = frozenset(options.skip_pubkeys)
        self._admins = options.skip_admins
        self._imports = options.skip_imports
        networks = [ip_network(network) for network in options.skip_networks]

        @lru_cache(_MOST_ADDRESSES)
        def is_near(address: str) -> bool:
            parsed = plain_address(address)
            return parsed is not None and any(parsed in network for network in networks)

        self._is_near: Callable[[str], bool] = is_near if networks else lambda _address: False

    def covers_kind(self, kind: int) -> bool:
        """True if events of this kind are not judged, whoever sends them."""
        return kind in self._skipped or bool(self._only and kind not in self._only)

    def covers(self, source: Source, admins: Collection[str]) -> bool:
        """True if nothing that this client sends or asks is judged.

        Args:
            source: the client.
            admins: keys of those who run the relay.
        """
        if source.way == "import" and self._imports:
            return True
        keys = source.keys
        if keys and not (keys.isdisjoint(self._pubkeys) and (not self._admins or keys.isdisjoint(admins))):
            return True
        return self._is_near(source.address)


@dataclass(frozen=True, slots=True)
class Judges:
    """Whom the relay asks; None: nobody is asked about these.

    Attributes:
        events, filters, connections: who judges these.
        exemptions: what is not judged.
        width: questions about events that are worth asking at a time.
        programs: that are asked, for their numbers.
        is_open: True if what nobody has judged is let in.
        hook_outcomes: gives how often each hook has answered what, or failed how, by hook and outcome.
    """

    events: EventJudge | None = None
    filters: FilterJudge | None = None
    connections: ConnectionJudge | None = None
    exemptions: Exemptions = field(default_factory=lambda: Exemptions(PluginOptions()))
    width: int = _HOOKS_WIDTH
    programs: tuple[Program, ...] = ()
    is_open: bool = False
    hook_outcomes: Callable[[], dict[tuple[str, str], int]] = dict

    def statistics(self) -> dict[str, ProgramStatistics]:
        """How the programs are, by name."""
        return {program.name: program.statistics() for program in self.programs}

    def degraded(self) -> str | None:
        """What of it keeps clients from being served, or None."""
        troubles = [] if self.is_open else [program.trouble for program in self.programs]
        return next(filter(None, troubles), None)


NO_JUDGES: Final = Judges()


class WriteProgram:
    """A program as a judge of events."""

    def __init__(self, program: Program, unjudged: Verdict, clock: Callable[[], float]) -> None:
        self._program = program
        self._unjudged = unjudged
        self._clock = clock

    async def judge_event(self, event: Event, source: Source) -> Verdict:
        answer = await self._program.ask(event.id, event_line(event, source, int(self._clock())))
        try:
            return self._unjudged if answer is None else verdict_on_event(answer)
        except BadAnswer as fault:
            self._program.faults[str(fault)] += 1
            return self._unjudged


class ReadProgram:
    """A program as a judge of requests."""

    def __init__(self, program: Program, unjudged: Verdict, clock: Callable[[], float]) -> None:
        self._program = program
        self._unjudged = unjudged
        self._clock = clock
        self._numbers = count(1)

    async def judge_filters(self, filters: Sequence[Filter], source: Source) -> Verdict:
        number = str(next(self._numbers))
        answer = await self._program.ask(number, request_line(number, filters, source, int(self._clock())))
        try:
            return self._unjudged if answer is None else verdict_on_request(answer, filters)
        except BadAnswer as fault:
            self._program.faults[str(fault)] += 1
            return self._unjudged


class ConnectionJudges:
    """Asks about all but those who are not judged."""

    def __init__(self, judge: ConnectionJudge, exemptions: Exemptions) -> None:
        self._judge = judge
        self._exemptions = exemptions

    async def judge_connection(self, source: Source) -> Verdict:
        return ACCEPTED if self._exemptions.covers(source, ()) else await self._judge.judge_connection(source)


class EventJudges:
    """Several judges, asked in turn until one has something against it."""

    def __init__(self, judges: Sequence[EventJudge]) -> None:
        self._judges = judges

    async def judge_event(self, event: Event, source: Source) -> Verdict:
        for judge in self._judges:
            verdict = await judge.judge_event(event, source)
            if verdict.action is not Action.ACCEPT:
                return verdict
        return ACCEPTED


class FilterJudges:
    """The same for requests; each is asked about what those before it have narrowed it to."""

    def __init__(self, judges: Sequence[FilterJudge]) -> None:
        self._judges = judges

    async def judge_filters(self, filters: Sequence[Filter], source: Source) -> Verdict:
        narrowed: tuple[Filter, ...] | None = None
        for judge in self._judges:
            verdict = await judge.judge_filters(filters if narrowed is None else narrowed, source)
            if verdict.action is not Action.ACCEPT:
                return verdict
            narrowed = narrowed if verdict.filters is None else verdict.filters
        return Verdict(filters=narrowed)


@asynccontextmanager
async def open_judges(
    options: PluginOptions, hooks: Judges = NO_JUDGES, clock: Callable[[], float] = time.time
) -> AsyncIterator[Judges]:
    """Run the programs that the options name, while the context lasts; none of them is left behind it.

    Args:
        options: checked.
        hooks: asked before the programs.
        clock: seconds since 1970.
    """
    unjudged = ACCEPTED if options.fail == "open" else UNJUDGED
    events = [] if hooks.events is None else [hooks.events]
    filters = [] if hooks.filters is None else [hooks.filters]
    exemptions = Exemptions(options)
    programs: list[Program] = []
    width = _HOOKS_WIDTH
    if words := words_of(options.write):
        program = _program("write", words, options)
        programs.append(program)
        events.append(WriteProgram(program, unjudged, clock))
        width = program.width
    if words := words_of(options.read):
        program = _program("read", words, options)
        programs.append(program)
        filters.append(ReadProgram(program, unjudged, clock))
    async with trio.open_nursery() as running:
        for program in programs:
            await running.start(program.run)
        yield Judges(
            EventJudges(events) if events else None,
            FilterJudges(filters) if filters else None,
            None if hooks.connections is None else ConnectionJudges(hooks.connections, exemptions),
            exemptions,
            width,
            tuple(programs),
            options.fail == "open",
            hooks.hook_outcomes,
        )
        running.cancel_scope.cancel(reason="the relay has stopped")


def _program(name: str, words: tuple[str, ...], options: PluginOptions) -> Program:
    return Program(
        name,
        partial(ProgramRun, words),
        options.processes,
        options.in_flight,
        options.timeout_seconds,
        partial(trio.to_thread.run_sync, _stamps, words),
    )


def _stamps(words: Sequence[str]) -> list[tuple[int, int] | None]:
    """When the files among the words of a command were changed last, and which files those are."""
    return [_stamp(word) for word in words]


def _stamp(word: str) -> tuple[int, int] | None:
    try:
        found = Path(word).stat()
    except (OSError, ValueError):
        return None
    return found.st_ino, found.st_mtime_ns
