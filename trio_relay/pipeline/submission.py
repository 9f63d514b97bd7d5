"""An event on its way through the pipeline, and how its sender hears what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, TypeAlias

from trio_relay.frozen import Frozen
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import DELETION
from trio_relay.policy.identity import Identity
from trio_relay.store.base import Saved

Reply: TypeAlias = Callable[[Event, bool, str], None]
"""`reply(event, accepted, reason)`: sync, never waits, called exactly once for each event that was sent on its way."""

Bars: TypeAlias = Callable[[], Callable[[Event], Rejected | None] | None]
"""Gives what tells why an event is not to go on although it was admitted; None while nobody is banned."""

ANSWERS: Final[dict[Saved, tuple[bool, str]]] = {
    Saved.STORED: (True, ""),
    Saved.DUPLICATE: (True, f"{Prefix.DUPLICATE}: already have this event"),
    Saved.SUPERSEDED: (False, f"{Prefix.DUPLICATE}: have a newer version"),
    Saved.DELETED: (False, f"{Prefix.BLOCKED}: deleted by its author, or older than a version that has expired"),
    Saved.VANISHED: (False, f"{Prefix.BLOCKED}: its author has asked to vanish"),
    Saved.FAILED: (False, f"{Prefix.ERROR}: the store could not take this event; send it again"),
}
"""What its sender hears of an event that the store has judged: OK's last two items."""


_BYTES_OF_DELETED: Final = 840
"""To remove an event takes some 0.1 ms: ten thousand fill a batch, so that no commit has several such deletions."""


class Submission(Frozen, frozen=True):
    """One event with its answer's way back.

    Attributes:
        event: to be verified, stored and delivered.
        reply: tells its sender what became of it.
        arrived: Trio's time when it came off the wire.
        size: bytes of the message that it came in, and something for each tag; batches are bounded by it.
        is_own: True if it is the relay's own, signed by itself or out of its own export: nothing bars it, and what it
            reports was noted before.
        sender: who sent it; None: the relay itself, or another process.
    """

    event: Event
    reply: Reply
    arrived: float
    size: int = 0
    is_own: bool = False
    sender: Identity | None = None

    @property
    def origin(self) -> str | None:
        """Whom its sender counts as, see `Identity`."""
        return None if self.sender is None else self.sender.origin


def weight(submission: Submission) -> int:
    """What it counts for in a batch, in bytes: a deletion is looked up and carried out for each of its tags."""
    if submission.event.kind != DELETION:
        return submission.size
    return submission.size + _BYTES_OF_DELETED * len(submission.event.tags)


def still_welcome(batch: list[Submission], bars: Bars, outcomes: Counter[str]) -> list[Submission]:
    """Those whose author has not been banned since they were admitted; the others are refused, and counted.

    What is the relay's own was never admitted by these rules.
    """
    barred = bars() if batch else None
    if barred is None:
        return batch
    still = []
    for submission in batch:
        if submission.is_own or (refusal := barred(submission.event)) is None:
            still.append(submission)
        else:
            outcomes["barred"] += 1
            submission.reply(submission.event, False, str(refusal))
    return still
