"""An audience that remembers."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from trio_relay import Event


class Ear:
    """Delivers as slowly as it is told to.

    Attributes:
        pending: what was noted, in order.
        delivered: what was delivered, in order.
        decisions: how often others have decided.
        seconds: that a delivery takes.
    """

    is_listening = True

    def __init__(self) -> None:
        self.pending: list[Event] = []
        self.delivered: list[Event] = []
        self.decisions = 0
        self.seconds = 0.0

    def note(self, events: Sequence[Event]) -> None:
        self.pending += events

    async def deliver(self, events: Sequence[Event]) -> None:
        await trio.sleep(self.seconds)
        self.delivered += events

    def decided(self) -> None:
        self.decisions += 1

    def missed(self) -> None:
        raise AssertionError("nothing follows this store")
