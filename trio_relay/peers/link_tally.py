"""What came of the events that went over a link, counted by words that metrics and operators are shown."""

from __future__ import annotations

from collections import Counter
from typing import Final

from trio_relay.nostr.errors import Prefix

OUTCOMES: Final = (
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


class LinkTally:
    """The numbers of one link, for as long as it is configured.

    Attributes:
        outcomes: events by one of the `OUTCOMES`.
        last_refusal: why the last event was refused, here or there.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self.last_refusal = ""

    def refused(self, side: str, reason: str) -> None:
        """Count an event that was refused, on this side: here or there."""
        self.outcomes[f"refused_{side}"] += 1
        self.last_refusal = reason


def is_known(reason: str) -> bool:
    """True if an answer says that the event, or a newer version of it, was there before."""
    return reason.startswith(f"{Prefix.DUPLICATE}:")


def is_for_now(reason: str) -> bool:
    """True if a refusal is no verdict on the event: sent again later, it may be taken."""
    return reason.startswith((f"{Prefix.ERROR}:", f"{Prefix.RATE_LIMITED}:"))
