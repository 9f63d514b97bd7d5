"""Events fetched from another relay by their ids, in chunks as large as it answers whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event
from trio_relay.peers.intake import Intake
from trio_relay.peers.messages import Ending, FilterJson, says
from trio_relay.peers.outcomes import Fate, Outcomes
from trio_relay.peers.peer import Peer
from trio_relay.peers.retrying import Pause
from trio_relay.peers.waiting import PeerLost, run_together

_CHUNK: Final = 250
"""Ids of one question: many relays give no more than 500 events for one."""
_MOST_IN_VAIN: Final = 40
"""Questions in a row to which nothing came: then nothing will."""
_AT_ONCE: Final = 3
"""Questions that are open at a time, so that the way there and back is not waited for."""


class Fetching:
    """Asks for events by id, and puts them into the pipeline.

    Args:
        peer: that has them.
        intake: where they go.
        outcomes: where what is missing is counted.
    """

    def __init__(self, peer: Peer, intake: Intake, outcomes: Outcomes) -> None:
        self._peer = peer
        self._intake = intake
        self._outcomes = outcomes
        self._chunk = _CHUNK
        self._pause = Pause()
        self._in_vain = 0

    async def fetch(self, ids: Sequence[str]) -> int:
        """Fetch these; returns how many came.

        Raises:
            PeerLost: see `Peer`.
        """
        left, came = deque(ids), 0

        async def ask_for_some() -> None:
            nonlocal came
            while left:
                chunk = [left.popleft() for _ in range(min(self._chunk, len(left)))]
                found, again = await self._ask(chunk)
                came += found
                left.extend(again)

        await run_together(ask_for_some, min(_AT_ONCE, -(-len(left) // self._chunk)))
        await self._intake.flush()
        return came

    async def _ask(self, chunk: list[str]) -> tuple[int, list[str]]:
        """One question: how many events came, and which are to be asked for again."""
        await self._pause.over()
        wanted, filter_ = dict.fromkeys(chunk), {"ids": chunk}
        refusal = await self._take_all(filter_, wanted)
        came = len(chunk) - len(wanted)
        if came:
            self._pause.end()
        self._in_vain = 0 if came else self._in_vain + 1
        if self._in_vain > _MOST_IN_VAIN:
            raise PeerLost(f"it gives nothing of what it says that it has{f': {refusal}' if refusal else ''}")
        if refusal is None or came:
            return came, self._after_answer(list(wanted), came)
        return came, self._after_refusal(list(wanted), refusal)

    async def _take_all(self, filter_: FilterJson, wanted: dict[str, None]) -> str | None:
        """Take what comes for a question out of what is wanted; returns why it was refused, if it was."""
        async with self._peer.subscribe([filter_]) as subscription:
            async for item in subscription:
                if isinstance(item, Ending):
                    return item.reason
                if not isinstance(item, Event):
                    break
                if item.id in wanted:  # else it comes twice
                    del wanted[item.id]
                    await self._intake.take(item)
        return None

    def _after_answer(self, missing: list[str], came: int) -> list[str]:
        """What is missing of an answer is asked for again, in chunks as large as that: the other side may cap them."""
        if missing and came:
            self._chunk = max(1, min(self._chunk, came))
            return missing
        if missing:
            self._outcomes.note(Fate.MISSING, "it said that it has this, and did not give it", len(missing))
        return []

    def _after_refusal(self, missing: list[str], reason: str) -> list[str]:
        if says(reason, Prefix.RATE_LIMITED) and self._pause.begin():
            return missing
        if len(missing) > 1 and not reason.startswith((Prefix.AUTH_REQUIRED, Prefix.RESTRICTED)):
            self._chunk = max(1, min(self._chunk, len(missing) // 2))
            return missing
        self._outcomes.note(Fate.MISSING, reason or "it gave no reason", len(missing))
        return []
