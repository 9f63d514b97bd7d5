"""The stage between verifiers and writers, where there is a judge: events of good signature wait here for verdicts.

What nobody judges goes on at once, past what waits. All else leaves in the order in which it came, so that a deletion
stays behind its event, while verdicts are asked side by side.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import structlog
import trio

from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.kinds import DELETION, VANISH, is_ephemeral
from trio_relay.pipeline.batches import BATCH_BYTES, Batches
from trio_relay.pipeline.ephemerals import Ephemerals
from trio_relay.pipeline.histogram import SECONDS, Histogram
from trio_relay.pipeline.statistics import JudgingStatistics
from trio_relay.pipeline.submission import ANSWERS, Submission, weight
from trio_relay.plugins.base import ACCEPTED, NOTHING, Action, EventJudge, Source, Verdict, refusal_of
from trio_relay.plugins.judges import Judges
from trio_relay.policy.identity import Identity
from trio_relay.policy.rules import Rules
from trio_relay.store.base import Saved, Store, StoreError

_MOST_WAITING: Final = 256
"""Events; more wait before this stage, those that nobody judges too."""
_MOST_REMEMBERED: Final = 10_000
"""Ids that were rejected without a word; each takes some 200 bytes."""

log = structlog.get_logger("trio_relay.pipeline")


class Judging:
    """Has events and requests judged, and keeps the numbers of it.

    Args:
        judges: who is asked.
        store: knows what is stored, which is not judged again.
        rules: have the keys of those who run the relay.
        ephemerals: where ephemeral events leave the way to the writer.
    """

    def __init__(self, judges: Judges, store: Store, rules: Rules, ephemerals: Ephemerals) -> None:
        self._judges = judges
        self._store = store
        self._rules = rules
        self._ephemerals = ephemerals
        self._turns = trio.CapacityLimiter(judges.width)
        self.waiting = 0
        """Events that wait for verdicts."""
        self._bytes = 0
        self._has_moved = trio.Event()
        self._last = trio.Event()
        self._last.set()
        self._shadowed: dict[str, None] = {}
        self._seconds = {"event": Histogram(SECONDS), "request": Histogram(SECONDS)}
        self._verdicts: Counter[str] = Counter()

    async def run(
        self,
        to_judge: trio.MemoryReceiveChannel[list[Submission]],
        verified: trio.MemorySendChannel[list[Submission]],
        live: trio.MemorySendChannel[list[Submission]],
    ) -> None:
        """Judge until the channel has ended; the other handles are this task's own and are closed by it."""
        judge = self._judges.events
        assert judge is not None, "without a judge there is no such stage"
        with to_judge, verified, live:
            async with trio.open_nursery() as asking:
                async for batch in Batches(to_judge, _MOST_WAITING, weight):
                    while self.waiting >= _MOST_WAITING or self._bytes >= BATCH_BYTES:
                        await self._has_moved.wait()
                    exempt, judged = await self._apart(batch)
                    if exempt:
                        await self._ephemerals.pass_on(exempt, verified, live)
                    if judged:
                        before, self._last = self._last, trio.Event()
                        self._expect(judged, 1)
                        asking.start_soon(self._judge, judge, judged, before, self._last, verified, live)

    def _expect(self, batch: list[Submission], sign: int) -> None:
        self.waiting += sign * len(batch)
        self._bytes += sign * sum(map(weight, batch))
        if sign < 0:
            self._has_moved.set()
            self._has_moved = trio.Event()

    async def _apart(self, batch: list[Submission]) -> tuple[list[Submission], list[Submission]]:
        """What of a batch goes on at once, and what waits in the line: also deletions, behind what they delete."""
        known = await self._known(batch)
        exempt: list[Submission] = []
        judged: list[Submission] = []
        for submission in batch:
            event = submission.event
            is_exempt = submission.is_own or event.id in known or self._judges.exemptions.covers_kind(event.kind)
            (exempt if is_exempt and event.kind not in (DELETION, VANISH) else judged).append(submission)
        return exempt, judged

    async def _known(self, batch: list[Submission]) -> set[str]:
        """Ids of private kinds, too, which verifiers do not look for: the writer says what their senders may hear."""
        ids = [submission.event.id for submission in batch]
        try:
            known = self._store.known_nowait(ids)
            return await self._store.known(ids) if known is None else known
        except StoreError as error:
            log.warning("cannot tell known events", error=str(error))
            return set()

    async def _judge(
        self,
        judge: EventJudge,
        batch: list[Submission],
        before: trio.Event,
        after: trio.Event,
        verified: trio.MemorySendChannel[list[Submission]],
        live: trio.MemorySendChannel[list[Submission]],
    ) -> None:
        verdicts = [ACCEPTED] * len(batch)
        async with trio.open_nursery() as asking:
            for place, submission in enumerate(batch):
                if not self._is_exempt(submission):
                    asking.start_soon(self._ask, judge, submission, verdicts, place)
        await before.wait()
        welcome = [one for one, verdict in zip(batch, verdicts, strict=True) if self._is_welcome(one, verdict)]
        if welcome:
            await self._ephemerals.pass_on(welcome, verified, live)
        self._expect(batch, -1)
        after.set()

    def _is_exempt(self, submission: Submission) -> bool:
        exemptions = self._judges.exemptions
        return (
            submission.is_own
            or exemptions.covers_kind(submission.event.kind)
            or exemptions.covers(source_of(submission.sender), self._rules.admins)
        )

    async def _ask(self, judge: EventJudge, submission: Submission, verdicts: list[Verdict], place: int) -> None:
        async with self._turns:
            began = trio.current_time()
            verdicts[place] = await judge.judge_event(submission.event, source_of(submission.sender))
            self._note("event", verdicts[place], began)

    def _note(self, what: str, verdict: Verdict, began: float) -> None:
        self._verdicts[f"{what}_{verdict.action.name.lower()}"] += 1
        self._seconds[what].observe(trio.current_time() - began)

    def _is_welcome(self, submission: Submission, verdict: Verdict) -> bool:
        """True if it goes on; else its sender has heard what there is to hear."""
        if verdict.action is Action.ACCEPT:
            return True
        if verdict.action is Action.REJECT:
            submission.reply(submission.event, False, str(refusal_of(verdict)))
        else:
            submission.reply(submission.event, *self._as_if_stored(submission.event))
        return False

    def _as_if_stored(self, event: Event) -> tuple[bool, str]:
        """What the sender of an event would hear if it were accepted: the second time, that it is here already."""
        if is_ephemeral(event.kind):
            return ANSWERS[Saved.STORED]
        if event.id in self._shadowed:
            return ANSWERS[Saved.DUPLICATE]
        if len(self._shadowed) >= _MOST_REMEMBERED:
            del self._shadowed[next(iter(self._shadowed))]
        self._shadowed[event.id] = None
        return ANSWERS[Saved.STORED]

    async def judged(self, filters: tuple[Filter, ...], identity: Identity) -> tuple[Filter, ...]:
        """What a client may ask in the stead of this; the same where nobody has anything against it.

        Raises:
            Rejected: it may not ask that.
        """
        judge, source = self._judges.filters, source_of(identity)
        if judge is None or self._judges.exemptions.covers(source, self._rules.admins):
            return filters
        began = trio.current_time()
        verdict = await judge.judge_filters(filters, source)
        self._note("request", verdict, began)
        if verdict.action is Action.REJECT:
            raise refusal_of(verdict)
        if verdict.action is Action.SHADOW_REJECT:
            return NOTHING
        return filters if verdict.filters is None else verdict.filters or NOTHING

    def statistics(self) -> JudgingStatistics:
        """What has been judged so far."""
        return JudgingStatistics(
            dict(self._verdicts),
            self._seconds["event"].statistics(),
            self._seconds["request"].statistics(),
            self._judges.statistics(),
            self._judges.hook_outcomes(),
        )


def source_of(sender: Identity | None) -> Source:
    """Where something comes from, as judges see it."""
    if sender is None:
        return Source()
    way = "sync" if sender.is_peer else "import" if sender.is_operator else "client"
    return Source(sender.address, frozenset(sender.keys), way)
