"""A whole sync over as many connections as it takes: one that is lost is made again, and the sync goes on.

What has come is stored by then, so sets are compared once more, and only what is left goes over the network. Where the
other side has no NIP-77, paging goes on at the time that was reached. A relay that was never there, or has been given
up while it was, is not tried again.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias

import structlog
import trio

from trio_relay.peers.messages import FilterJson
from trio_relay.peers.outcomes import SyncReport
from trio_relay.peers.passage import PagedSoFar, Passage
from trio_relay.peers.peer import Peer
from trio_relay.peers.retrying import STEADY_SECONDS, Backoff
from trio_relay.peers.synchronizing import synchronize
from trio_relay.peers.waiting import PeerLost, tasks_beside

log = structlog.get_logger("trio_relay.peers")

Watch: TypeAlias = Callable[[Callable[[], None]], Awaitable[None]]
"""Shows how a sync goes, until cancelled; what it is given brings the report's bytes up to date."""

_LONGEST_WAIT: Final = 16.0
_MOST_IN_VAIN: Final = 5
"""Tries in a row by which no event came or went, nor paging came nearer to its end."""


class LastingSync:
    """One sync.

    Args:
        connect: opens a connection to the other relay.
        passage_to: makes what carries events over it; given what is known by paging.
        report: filled as it goes.
        watch: runs beside each connection.
        chance: gives a number from 0 to below 1, for waits.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractAsyncContextManager[Peer]],
        passage_to: Callable[[Peer, PagedSoFar], Passage],
        report: SyncReport,
        watch: Watch,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._connect = connect
        self._passage_to = passage_to
        self._report = report
        self._watch = watch
        self._waits = Backoff(_LONGEST_WAIT, chance)
        self._paged = PagedSoFar()
        self._was_cut = False
        """True once a connection broke off on which something had been answered."""

    async def run(self, filters: Sequence[FilterJson]) -> None:
        """Sync what each of the filters asks for, one after the other.

        Raises:
            PeerLost: the other relay cannot be reached, or was lost for good; what came before is stored.
            StoreError: the store could not tell.
        """
        left, in_vain = deque(filters), 0
        while left:
            before = self._report.moved, self._paged.reached.copy()
            try:
                await self._go_on(left)
            except PeerLost as lost:
                is_nearer = (self._report.moved, self._paged.reached) != before
                in_vain = 0 if is_nearer else in_vain + 1
                if not self._was_cut or in_vain > _MOST_IN_VAIN:
                    raise
                seconds = self._waits.wait(STEADY_SECONDS if is_nearer else 0.0)
                log.warning("connection lost", reason=str(lost), hint=f"the sync goes on in {seconds:.1f} seconds")
                await trio.sleep(seconds)

    async def _go_on(self, left: deque[FilterJson]) -> None:
        """Sync what is left over one connection."""
        report = self._report
        received, sent = report.received_bytes, report.sent_bytes
        async with self._connect() as peer, tasks_beside() as tasks:

            def count_bytes() -> None:
                report.received_bytes, report.sent_bytes = received + peer.received_bytes, sent + peer.sent_bytes

            tasks.start_soon(self._watch, count_bytes)
            passage = self._passage_to(peer, self._paged)
            try:
                while left:
                    await synchronize(passage, left[0])
                    left.popleft()
            finally:
                count_bytes()
                self._was_cut = peer.is_gone and report.has_answers
                for notice in peer.remarks:
                    report.remark(f"it said: {notice}")
            if reason := peer.key_refused:
                report.remark(f"it does not accept our key: {reason}")
