"""Import and export of events; an import goes through the same pipeline as a client's events.

What comes in from others is judged by the rules of the day. This relay's own export is not: it was let in once, so only
what has happened to it since counts, and whether it is whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from gzip import GzipFile
from itertools import dropwhile
from time import monotonic
from typing import BinaryIO, Final

import trio

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event, has_expired
from trio_relay.nostr.kinds import is_ephemeral
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.submission import ANSWERS, Submission
from trio_relay.policy.identity import Identity
from trio_relay.resuming import NOTHING, AnsweredLines, PassedOver, Portion
from trio_relay.sources import BrokenFile, Line
from trio_relay.store.base import Saved, Scannable

OUTCOMES: Final = ("stored", "known", "superseded", "ephemeral", "gone", "refused")
"""What becomes of a line, in the order in which it is told."""
MOST_TOLD: Final = 10
"""Reasons that are told of lines that are gone, and of those that were refused."""
MOST_REASONS: Final = 1_000
"""Reasons that are told apart; a file can have another one in each line."""
PORTION_LINES: Final = 256
"""Lines that are read at a time, and published together."""
PORTION_BYTES: Final = 2**20
"""So many end a portion, too: a line may have many."""
_PORTION_SECONDS: Final = 0.1
"""After which lines that come slowly, as from a client at the other end of a pipe, go on."""
_WITHDRAWN: Final = frozenset(ANSWERS[outcome][1] for outcome in (Saved.DELETED, Saved.VANISHED))


@dataclass(slots=True)
class ImportSummary:
    """The outcomes of an import's lines.

    Attributes:
        tell: called with each refusal, which names its line; None: only the most frequent reasons are told, at the end.
        counts: by outcome. Gone is what is not to be in the store any more: it was deleted, its author has vanished,
            it has expired, or, of a backup, it was banned. Only what is refused is missing in the store.
        reasons: by outcome and reason, how many lines are gone or were refused. Of more than `MOST_REASONS` reasons the
            rarer half is forgotten, so that each number is a least one then.
        examples: the first line that was refused, by reason.
        broken: why the file could not be read to its end; None if it could.
        store_failed: True if a line was refused because the store failed.
        passed_over: the line up to which all had been answered before, and how many of these had been refused.
    """

    tell: Callable[[str], None] | None = None
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[str, int] = field(default_factory=dict)
    broken: str | None = None
    store_failed: bool = False
    passed_over: PassedOver = NOTHING

    def reply(self, line: int, event: Event, accepted: bool, reason: str) -> None:
        """Count one answer of the pipeline."""
        if accepted:
            self.counts["known" if reason else "stored"] += 1
        elif reason.startswith(f"{Prefix.DUPLICATE}:"):
            self.counts["superseded"] += 1
        elif reason in _WITHDRAWN:
            self.leave_out(_without_prefix(reason))
        else:
            self.refuse(line, _without_prefix(reason), is_failure=reason.startswith(f"{Prefix.ERROR}:"))

    def leave_out(self, reason: str) -> None:
        """Count a line whose event is gone."""
        self._count("gone", reason)

    def refuse(self, line: int, reason: str, *, is_failure: bool = False) -> None:
        """Count a line that was refused; a failure is the store's."""
        self.examples[reason] = min(line, self.examples.get(reason, line))
        self._count("refused", reason)
        self.store_failed = self.store_failed or is_failure
        if self.tell is not None:
            self.tell(f"line {line}: {reason}")

    def _count(self, outcome: str, reason: str) -> None:
        self.counts[outcome] += 1
        self.reasons[outcome, reason] += 1
        if len(self.reasons) > MOST_REASONS:  # what is frequent stays
            self.reasons = Counter(dict(self.reasons.most_common(MOST_REASONS // 2)))
            self.examples = {why: line for why, line in self.examples.items() if ("refused", why) in self.reasons}

    @property
    def has_refusals(self) -> bool:
        """True if any line was refused, by this import or by the one that it goes on with."""
        return bool(self.counts["refused"] or self.passed_over.refused)

    @property
    def total(self) -> int:
        """The number of lines that have been answered."""
        return self.counts.total()

    def lines(self) -> list[str]:
        """The whole in words: all outcomes, then why lines are gone or were refused, the most frequent reasons first.

        Of what was passed over only the number is known.

        Of each of the two no more than `MOST_TOLD` reasons, and how many other lines there are; a reason why lines were
        refused comes with one of them.
        """
        named = ", ".join(f"{self.counts[name]} {name}" for name in OUTCOMES)
        told, left = list[str](), self.counts.copy()
        places = Counter({outcome: MOST_TOLD for outcome, _ in self.reasons})
        for (outcome, reason), number in self.reasons.most_common():
            if places[outcome]:
                places[outcome] -= 1
                left[outcome] -= number
                example = f" (line {self.examples[reason]})" if outcome == "refused" else ""
                told.append(f"  {number} {outcome}: {reason}{example}")
        others = [f"  {left[outcome]} {outcome} for other reasons" for outcome in places if left[outcome]]
        return [f"{self.total} events: {named}", *told, *others, *self._before()]

    def _before(self) -> list[str]:
        line, refused = self.passed_over
        told = [f"  up to line {line} all had been answered before"] if line else []
        return [*told, f"  {refused} of these lines were refused before"] if refused else told


async def import_lines(
    relay: Relay,
    lines: Iterable[Line],
    summary: ImportSummary,
    *,
    is_backup: bool = False,
    answered: AnsweredLines | None = None,
) -> None:
    """Publish each line's event, as fast as the pipeline takes them; all are answered when the relay's context ends.

    Args:
        relay: the relay to publish to.
        lines: see `sources.lines.read_lines`. Each step is made in a thread, one after another and not always in the
            same one. Where they break off, what came before is published.
        summary: filled as answers come.
        is_backup: True if this relay exported them: see `event_checks.check_restored`.
        answered: told of each answer, too; what it knows as answered is passed over.
    """
    answered = answered or AnsweredLines()
    intake = _Intake(relay, summary, is_backup=is_backup, answered=answered)
    after = answered.last
    steps = dropwhile(lambda line: line.number <= after, lines)
    while portion := await trio.to_thread.run_sync(_take, steps, summary, abandon_on_cancel=True):
        if batch := intake.submissions(portion):
            await relay.publish(batch)


def _take(lines: Iterator[Line], summary: ImportSummary) -> list[Line]:
    """Read some lines, until they are enough for a batch or it has taken long enough; none if there are no more."""
    portion: list[Line] = []
    size, deadline = 0, monotonic() + _PORTION_SECONDS
    try:
        for line in lines:
            portion.append(line)
            size += line.size
            if len(portion) == PORTION_LINES or size >= PORTION_BYTES or monotonic() > deadline:
                break
    except BrokenFile as error:  # told at the end: an error from here would cancel what is on its way
        summary.broken = str(error)
    return portion


class _Intake:
    """What becomes of lines before the pipeline: the verdicts of the rules, and the way back for its answers."""

    def __init__(self, relay: Relay, summary: ImportSummary, *, is_backup: bool, answered: AnsweredLines) -> None:
        self._relay = relay
        self._summary = summary
        self._answered = answered
        self._operator = Identity(is_operator=True, brings_backup=is_backup)

    def submissions(self, lines: list[Line]) -> list[Submission]:
        """Return what is to be published of some lines; of the others the outcome is counted."""
        portion = self._answered.begin(lines[-1].number, len(lines))
        operator, now, batch = self._operator, trio.current_time(), []
        for line in lines:
            refused = self._summary.counts["refused"]
            if (event := line.event) is not None and self._is_admitted(line, event):
                reply = partial(self._reply, portion, line.number)
                batch.append(Submission(event, reply, now, line.size, operator.brings_backup, operator))
                continue
            if event is None:
                self._summary.refuse(line.number, line.fault)
            self._answered.answer(portion, is_refused=self._summary.counts["refused"] > refused)
        return batch

    def _is_admitted(self, line: Line, event: Event) -> bool:
        """True if the event goes on; else its outcome is counted."""
        if is_ephemeral(event.kind):  # never stored, and nobody listens; a request to join makes nobody a member here
            self._summary.counts["ephemeral"] += 1
        elif has_expired(event, self._relay.now()):
            self._summary.leave_out("it has expired (NIP-40)")
        elif (refusal := self._relay.admission.admit(event, self._operator, line.size)) is None:
            return True
        elif self._operator.brings_backup and refusal.prefix is Prefix.BLOCKED:
            self._summary.leave_out(refusal.reason)
        else:
            self._summary.refuse(line.number, _in_a_file(refusal))
        return False

    def _reply(self, portion: Portion, line: int, event: Event, accepted: bool, reason: str) -> None:
        refused = self._summary.counts["refused"]
        self._summary.reply(line, event, accepted, reason)
        if accepted:
            self._answered.answer(portion, event.id)
        elif reason.startswith(f"{Prefix.ERROR}:"):
            self._answered.fail()
        else:
            self._answered.answer(portion, is_refused=self._summary.counts["refused"] > refused)


def _in_a_file(refusal: Rejected) -> str:
    """Return why an event is refused, in words about a file: nobody who imports can authenticate."""
    if refusal.prefix is Prefix.AUTH_REQUIRED:
        return "it is protected: only its author may publish it, or this relay's own backup restore it (NIP-70)"
    return refusal.reason


def _without_prefix(reason: str) -> str:
    return reason.partition(": ")[2]


async def export_lines(store: Scannable, out: BinaryIO | GzipFile, progress: Callable[[int], None]) -> int:
    """Write every stored event as a line, in the order in which they came; returns their number.

    Args:
        store: what to export, open for reading.
        out: a binary file.
        progress: called with the number of events that were written, after each page.
    """
    total = 0
    async with aclosing(store.scan()) as pages:
        async for page in pages:
            await trio.to_thread.run_sync(out.write, b"\n".join(page) + b"\n")
            total += len(page)
            progress(len(page))
    return total
