"""Import and export of events; an import goes through the same pipeline as a client's events.

What comes in from others is judged by the rules of the day. This relay's own export is not: it was let in once, so only
what has happened to it since counts, and whether it is whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from gzip import GzipFile
from typing import BinaryIO, Final

import trio

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event, has_expired
from trio_relay.nostr.kinds import is_ephemeral
from trio_relay.pipeline.relay import Relay
from trio_relay.pipeline.submission import ANSWERS, Submission
from trio_relay.policy.identity import Identity
from trio_relay.sources import BrokenFile, Line
from trio_relay.store.base import Saved, Scannable

OUTCOMES: Final = ("stored", "known", "superseded", "ephemeral", "gone", "refused")
"""What becomes of a line, in the order in which it is told."""
MOST_TOLD: Final = 10
"""Reasons that are told of lines that are gone, and of those that were refused."""
MOST_REASONS: Final = 1_000
"""Reasons that are told apart; a file can have another one in each line."""
_PARCEL: Final = 100
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
    """

    tell: Callable[[str], None] | None = None
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[str, int] = field(default_factory=dict)
    broken: str | None = None
    store_failed: bool = False

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
    def total(self) -> int:
        """The number of lines that have been answered."""
        return self.counts.total()

    def lines(self) -> list[str]:
        """The whole in words: all outcomes, then why lines are gone or were refused, the most frequent reasons first.

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
        return [f"{self.total} events: {named}", *told, *others]


async def import_lines(relay: Relay, lines: Iterable[Line], summary: ImportSummary, *, is_backup: bool = False) -> None:
    """Publish each line's event, as fast as the pipeline takes them; all are answered when the relay's context ends.

    Args:
        relay: the relay to publish to.
        lines: see `sources.lines.read_lines`. Where they break off, what came before is published.
        summary: filled as answers come.
        is_backup: True if this relay exported them: see `event_checks.check_restored`.
    """
    operator = Identity(is_operator=True, brings_backup=is_backup)
    batch: list[Submission] = []
    try:
        for line in lines:
            if (submission := _submission(relay, line, operator, summary)) is not None:
                batch.append(submission)
            if len(batch) >= _PARCEL:
                await relay.publish(batch)
                batch = []
    except BrokenFile as error:  # told at the end: an error from here would cancel what is on its way
        summary.broken = str(error)
    if batch:
        await relay.publish(batch)


def _submission(relay: Relay, line: Line, operator: Identity, summary: ImportSummary) -> Submission | None:
    """Return what is to be published of a line, if anything; else its outcome is counted."""
    event = line.event
    if event is None:
        summary.refuse(line.number, line.fault)
    elif is_ephemeral(event.kind):  # never stored, and nobody listens; a request to join makes nobody a member here
        summary.counts["ephemeral"] += 1
    elif has_expired(event, relay.now()):
        summary.leave_out("it has expired (NIP-40)")
    elif (refusal := relay.admission.admit(event, operator, line.size)) is None:
        reply = partial(summary.reply, line.number)
        return Submission(event, reply, trio.current_time(), line.size, operator.brings_backup, operator)
    elif operator.brings_backup and refusal.prefix is Prefix.BLOCKED:
        summary.leave_out(refusal.reason)
    else:
        summary.refuse(line.number, _in_a_file(refusal))
    return None


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
