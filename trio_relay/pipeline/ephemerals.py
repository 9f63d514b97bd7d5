"""Ephemeral events: delivered and never stored (NIP-01, "Kinds"), so they leave the others' way before the writer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import trio

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import is_ephemeral
from trio_relay.pipeline.submission import Bars, Submission, still_welcome
from trio_relay.store.base import Store

_UNHEARD: Final = f"{Prefix.MUTE}: nobody was listening for this event"


class Ephemerals:
    """Answers ephemeral events, and hands them to the broadcaster and to other processes.

    Args:
        store: spreads them.
        bars: gives what tells why one may not be delivered after all, or None if all may be.
        outcomes: counts what becomes of them.
        is_heard: tells whether anybody would get one; None: its sender is not told.
    """

    def __init__(
        self, store: Store, bars: Bars, outcomes: Counter[str], is_heard: Callable[[Event], bool] | None = None
    ) -> None:
        self._store = store
        self._bars = bars
        self._outcomes = outcomes
        self.is_heard = is_heard
        """See above; may change at any time."""

    def deliver_nowait(self, submission: Submission, live: trio.MemorySendChannel[list[Submission]]) -> bool:
        """Deliver one without a wait, unless it is barred; False if it found no room."""
        if not still_welcome([submission], self._bars, self._outcomes):
            return True
        if not sent_nowait(live, submission):
            return False
        self._store.spread([submission.event])
        self._answer(submission)
        return True

    async def pass_on(
        self,
        batch: list[Submission],
        verified: trio.MemorySendChannel[list[Submission]],
        live: trio.MemorySendChannel[list[Submission]],
    ) -> None:
        """Deliver those of a batch that are ephemeral; all others go to the writer."""
        ephemeral = [submission for submission in batch if is_ephemeral(submission.event.kind)]
        lasting = (
            [submission for submission in batch if not is_ephemeral(submission.event.kind)] if ephemeral else batch
        )
        if welcome := still_welcome(ephemeral, self._bars, self._outcomes):
            for submission in welcome:
                self._answer(submission)
            self._store.spread([submission.event for submission in welcome])
            await live.send(welcome)
        if lasting:
            await verified.send(lasting)

    def _answer(self, submission: Submission) -> None:
        self._outcomes["ephemeral"] += 1
        is_unheard = self.is_heard is not None and not self.is_heard(submission.event)
        submission.reply(submission.event, True, _UNHEARD if is_unheard else "")


def sent_nowait(channel: trio.MemorySendChannel[list[Submission]], submission: Submission) -> bool:
    """Send an event on without a wait; False if there is no room for it."""
    try:
        channel.send_nowait([submission])
    except trio.WouldBlock:
        return False
    return True
