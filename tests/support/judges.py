"""Judges without programs: they say what a test has them say, once it lets them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from trio_relay import Action, Event, Filter, Judges, PluginOptions, Source, Verdict
from trio_relay.plugins import Exemptions

REJECT = Verdict(Action.REJECT, "blocked: no")
SHADOW = Verdict(Action.SHADOW_REJECT)


class Jury:
    """Judges by contents, or by the kinds that are asked for; what is not named here is accepted.

    Args:
        verdicts: by an event's content, or by a filter's one kind.
        held: what is not judged before the test says `let`.
    """

    def __init__(self, verdicts: Mapping[str | int, Verdict] | None = None, held: Sequence[str | int] = ()) -> None:
        self.asked: list[str | int] = []
        """What it was asked about."""
        self.sources: list[Source] = []
        """Where that came from."""
        self.running = self.most = 0
        """Questions that wait for a verdict now, and that did at most."""
        self._verdicts = dict(verdicts or {})
        self._held = {what: trio.Event() for what in held}

    def let(self, what: str | int) -> None:
        """Judge this now."""
        self._held[what].set()

    async def judge_event(self, event: Event, source: Source) -> Verdict:
        return await self._judge(event.content, source)

    async def judge_filters(self, filters: Sequence[Filter], source: Source) -> Verdict:
        (kind,) = filters[0].kinds or {-1}
        return await self._judge(kind, source)

    async def _judge(self, what: str | int, source: Source) -> Verdict:
        self.asked.append(what)
        self.sources.append(source)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await trio.lowlevel.checkpoint()
            if what in self._held:
                await self._held[what].wait()
        finally:
            self.running -= 1
        return self._verdicts.get(what, Verdict())


def judged_by(jury: Jury, options: PluginOptions | None = None, width: int = 64) -> Judges:
    """Have events and requests judged by it, but for what the options leave out."""
    return Judges(jury, jury, exemptions=Exemptions(options or PluginOptions()), width=width)
