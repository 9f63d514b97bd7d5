"""All that one connection to another relay waits for, and who gets what of that which comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, TypeVar

import trio

from trio_relay.peers import messages
from trio_relay.peers.messages import Delivery, Ending, Receipt, RelayMessage, StoredEnd
from trio_relay.peers.questions import Negotiation, PeerSubscription
from trio_relay.peers.waiting import Expected, Patience, PeerLost, PeerRefused

T = TypeVar("T")

_REMARKS: Final = 10
"""Notices that are remembered."""
_ESTIMATE: Final = "it counts by estimates"
_LATE_IDS: Final = 64
"""Subscriptions that were closed of late, and of which events may still be on their way."""


class OpenQuestions:
    """The tables of a connection: what was asked is found in them by its id.

    Args:
        patience: see `PeerOptions`.
        challenge: called with each challenge (NIP-42).
    """

    def __init__(self, patience: int, challenge: Callable[[str], None]) -> None:
        self.receipts: dict[str, Expected[Receipt]] = {}
        self.totals: dict[str, Expected[int]] = {}
        self.subscriptions: dict[str, PeerSubscription] = {}
        self.negotiations: dict[str, Negotiation] = {}
        self.late: deque[str] = deque(maxlen=_LATE_IDS)
        """Ids of subscriptions that are over."""
        self.remarks: deque[str] = deque(maxlen=_REMARKS)
        """What the other side said last for people to read (NOTICE)."""
        self.unasked = 0
        """Events that came although nobody had asked for them."""
        self.is_held_up = False
        """True while nothing more is taken, since whoever asked for events reads none."""
        self._patience = Patience(patience)
        self._challenge = challenge

    def note_sent(self) -> None:
        """Something is sent: many relays say more than one thing to each, such as a challenge or a notice beside OK."""
        self._patience.grant()

    async def take(self, message: RelayMessage) -> None:
        """Give a message to whoever waits for it; waits while there is no room.

        Raises:
            PeerLost: too much came that means nothing.
        """
        match message:
            case messages.Delivery(sub_id=sub_id):
                await self._deliver(self.subscriptions.get(sub_id), message)
            case messages.Receipt(event_id=event_id):
                self._give(self.receipts.get(event_id), message)
            case messages.StoredEnd(sub_id=sub_id):
                self._end_stored(self.subscriptions.get(sub_id), message)
            case messages.Total(sub_id=sub_id, number=number, is_approximate=is_approximate):
                self._give(self.totals.get(sub_id), PeerRefused(_ESTIMATE) if is_approximate else number)
            case messages.Challenge(text=text):
                self._challenge(text)
                self._bear_one()
            case messages.SyncReply(sync_id=sync_id, message=reply):
                negotiation = self.negotiations.get(sync_id)
                self._give(None if negotiation is None else negotiation.answer, reply)
            case messages.SyncRefusal(sync_id=sync_id, reason=reason, most=most):
                self._refuse_sync(sync_id, PeerRefused(reason or "it gave no reason", most))
            case messages.Ending(sub_id=sub_id, reason=reason):
                self._end(sub_id, reason)
            case messages.Remark(text=text):
                self._remark(text)
            case messages.Nonsense(reason=reason):
                self._bear(reason)

    def _give(self, expected: Expected[T] | None, answer: T | Exception) -> None:
        if expected is None or expected.has_come:
            self._bear_one()
        else:
            expected.give(answer)

    async def _deliver(self, subscription: PeerSubscription | None, message: Delivery) -> None:
        if subscription is None:
            if message.sub_id not in self.late:
                self.unasked += 1
                self._bear("events of a subscription that nobody has opened")
        elif not subscription.asked_for(message.event):
            self.unasked += 1
            self._bear("events that nobody has asked for")
        else:
            self.is_held_up = True
            await subscription.inbox.put(message.event, message.size)
            self.is_held_up = False

    def _end_stored(self, subscription: PeerSubscription | None, message: StoredEnd) -> None:
        if subscription is None or subscription.has_all_stored:
            self._bear_one()
        else:
            subscription.has_all_stored = True
            subscription.inbox.put_nowait(message)

    def _end(self, sub_id: str, reason: str) -> None:
        subscription = self.subscriptions.get(sub_id)
        if subscription is not None and not subscription.is_closed_by_peer:
            subscription.is_closed_by_peer = True
            subscription.inbox.put_nowait(Ending(sub_id, reason))
        elif (expected := self.totals.get(sub_id)) is not None and not expected.has_come:
            expected.give(PeerRefused(reason or "it gave no reason"))
        else:
            self._refuse_sync(sub_id, PeerRefused(reason or "it gave no reason"))

    def _refuse_sync(self, sync_id: str, refusal: PeerRefused) -> None:
        negotiation = self.negotiations.get(sync_id)
        if negotiation is None or negotiation.is_refused:
            self._bear_one()
        else:
            negotiation.refuse(refusal)

    def _remark(self, text: str) -> None:
        self.remarks.append(text)
        for negotiation in self.negotiations.values():
            negotiation.hear_remark(text)
        self._bear("notices")

    def _bear_one(self) -> None:
        self._bear("messages that nobody waits for")

    def _bear(self, what: str) -> None:
        """Note what means nothing, unless that is too much."""
        if not self._patience.bears(trio.current_time()):
            raise PeerLost(f"it floods: {what}")

    def end(self, lost: PeerLost) -> None:
        """Tell everybody who waits that the other side is gone."""
        for receipt in self.receipts.values():
            receipt.give(lost)
        for total in self.totals.values():
            total.give(lost)
        for negotiation in self.negotiations.values():
            negotiation.refuse(lost)
        for subscription in self.subscriptions.values():
            subscription.inbox.end(lost)
