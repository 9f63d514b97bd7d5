"""What became of the events that went over a connection.

A sync, which ends, tells people by direction, outcome and reason; a mirror, which does not, counts by words that
metrics show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from trio_relay.nostr.errors import Prefix

MOST_REASONS: Final = 1_000
"""Reasons that are told apart; another relay can find a new one for each event."""
MOST_TOLD: Final = 10
"""Reasons that are told of each outcome."""

LINK_OUTCOMES: Final = (
    "taken",
    "known_here",
    "skipped",
    "refused_here",
    "given",
    "known_there",
    "echo",
    "refused_there",
)
"""Of what the other relay sent: stored or delivered here; stored here before; not looked at, as it had just come or
gone by this link; refused. Of ours: stored there; there before, so that giving it was in vain; not given, as it was
there; refused."""


def is_known(reason: str) -> bool:
    """True if an answer says that the event, or a newer version of it, was there before."""
    return reason.startswith(f"{Prefix.DUPLICATE}:")


def is_for_now(reason: str) -> bool:
    """True if a refusal is no verdict on the event: sent again later, it may be taken."""
    return reason.startswith((f"{Prefix.ERROR}:", f"{Prefix.RATE_LIMITED}:"))


class Fate(StrEnum):
    """What became of one event."""

    STORED = "stored"
    KNOWN = "known"
    SUPERSEDED = "superseded"
    EPHEMERAL = "ephemeral"
    GONE = "gone"
    REFUSED = "refused"
    KEPT_BACK = "kept back"
    MISSING = "missing"
    UNANSWERED = "unanswered"


class Outcomes:
    """The events of one direction.

    Gone is what is not to be in the store any more; kept back is what this relay does not give away; missing is what
    the other side said that it has, and did not give; unanswered is what it said nothing about.
    """

    def __init__(self) -> None:
        self.counts: Counter[Fate] = Counter()
        self.reasons: Counter[tuple[Fate, str]] = Counter()

    def note(self, outcome: Fate, reason: str = "", number: int = 1) -> None:
        """Count events; of too many different reasons the rarer half is forgotten."""
        self.counts[outcome] += number
        if reason:
            self.reasons[outcome, reason] += number
        if len(self.reasons) > MOST_REASONS:
            self.reasons = Counter(dict(self.reasons.most_common(MOST_REASONS // 2)))

    def lines(self, title: str) -> list[str]:
        """The whole in words: all outcomes that there were, then the most frequent reasons of each."""
        named = ", ".join(f"{number} {outcome}" for outcome in Fate if (number := self.counts[outcome]))
        told, places = list[str](), Counter(dict.fromkeys(Fate, MOST_TOLD))
        for (outcome, reason), number in self.reasons.most_common():
            if places[outcome]:
                places[outcome] -= 1
                told.append(f"  {number} {outcome}: {reason}")
        return [f"{title}: {named or 'nothing'}", *told]


@dataclass(slots=True)
class SyncReport:
    """How a sync goes, and how it went.

    Attributes:
        down: what came from the other side.
        up: what was offered to it.
        windows: stretches of time that have been compared.
        rounds: messages of comparisons that were answered (NIP-77).
        pages: answers to questions for events by time, where there is no NIP-77.
        received_bytes, sent_bytes: over the network, those of TLS left out.
        remarks: what could not be done, and what was done instead, in words.
        is_whole: False if something may be missing that could not be fetched.
    """

    down: Outcomes = field(default_factory=Outcomes)
    up: Outcomes = field(default_factory=Outcomes)
    windows: int = 0
    rounds: int = 0
    pages: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    remarks: list[str] = field(default_factory=list)
    is_whole: bool = True

    @property
    def has_answers(self) -> bool:
        """True once the other side has answered anything."""
        return bool(self.rounds or self.pages or self.down.counts or self.up.counts)

    @property
    def moved(self) -> int:
        """Events that one side lacked, and has now."""
        return self.down.counts[Fate.STORED] + self.up.counts[Fate.STORED]

    def progress(self, seconds: float) -> str:
        """How far it is, what matters most first, in a line for which a terminal of 80 columns has room beside a clock.

        Args:
            seconds: since it began.
        """
        came, went = self.down.counts.total(), self.up.counts.total()
        pace, megabytes = (came + went) / max(seconds, 0.001), (self.received_bytes + self.sent_bytes) / 1e6
        steps = f"{self.pages:,} pages" if self.pages else f"{self.rounds:,} rounds"
        return f"{came:,} down, {went:,} up, {pace:,.0f}/s, {megabytes:,.0f} MB, {steps}"

    def steps(self) -> str:
        """What it took, in words."""
        pages = f", {self.pages} pages" if self.pages else ""
        megabytes = f"{self.received_bytes / 1e6:,.1f} MB received, {self.sent_bytes / 1e6:,.1f} MB sent"
        return f"{self.windows} spans of time, {self.rounds} rounds{pages}, {megabytes}"

    def remark(self, text: str, *, misses_some: bool = False) -> None:
        """Note something once; a hundred of them are enough."""
        self.is_whole = self.is_whole and not misses_some
        if text not in self.remarks and len(self.remarks) < 100:
            self.remarks.append(text)


class LinkTally:
    """The numbers of one link, for as long as it is configured.

    Args:
        now: seconds since 1970.

    Attributes:
        outcomes: events by one of the `LINK_OUTCOMES`.
        last_refusal: why the last event was refused, here or there.
        moved: events that one of both sides lacked, and has by this link.
        moved_at: seconds since 1970, when that was last; 0: never.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.moved = 0
        self.moved_at = 0
        self.outcomes: Counter[str] = Counter(dict.fromkeys(LINK_OUTCOMES, 0))
        self.last_refusal = ""

    def move(self, outcome: str) -> None:
        """Count an event that was taken, or given."""
        self.outcomes[outcome] += 1
        self.moved += 1
        self.moved_at = self._now()

    def refused(self, side: str, reason: str) -> None:
        """Count an event that was refused, on this side: here or there."""
        self.outcomes[f"refused_{side}"] += 1
        self.last_refusal = reason
