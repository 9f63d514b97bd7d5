"""The stored part of one REQ: found by turns under a deadline, sent page by page, ended by EOSE; or else CLOSED.

It goes through these states, each moved on by the task of the connection that asks:

    new ── send_nowait: found at once, and small ──→ answered (one piece, with its EOSE)
     │        └─ found, but too much for one piece, or its hint takes a look ──→ found ──┐
     └──────────────── send ─────────────────────────────────────────────────────────────┴→ sending

    sending ── each page, as the outbox has room ──→ sending
            ── the filter's limit reached ──→ cut: the rest of a second that must not be cut (`completeness`), then
               whether anything older is left (MORE)
            ── all sent ──→ hint, where hints are on: was it whole (FINISH, MORE or nothing, NIP-67) ──→ answered
            ── a step took too long or got no turn, or the store failed ──→ refused (CLOSED)

However it ends, a slow one is noted for operators (`slow_requests`).

What an answer must not send twice or miss beside live events is the subscription's affair; whoever ends a subscription
cancels the task that sends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import structlog
import trio

from trio_relay.nostr.access import Reader
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import decode
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.message import MORE
from trio_relay.pipeline.completeness import (
    could_be_filled,
    could_hide,
    older_than,
    ties_of,
    to_be_filled,
    with_one_more,
)
from trio_relay.pipeline.hints import Hints, Unsure
from trio_relay.pipeline.histogram import SECONDS, Histogram
from trio_relay.pipeline.paging import Pager
from trio_relay.pipeline.query_turns import NoTurn, QueryTurns
from trio_relay.pipeline.slow_requests import GIVEN_UP, LEAST_SECONDS, SlowRequests
from trio_relay.pipeline.subscription import Subscription
from trio_relay.policy.identity import Identity
from trio_relay.store.base import Page, QueryTooLarge, Store, StoreError, id_of

log = structlog.get_logger("trio_relay.pipeline")


class Unstored(Protocol):
    """What is made for who asks, before what is stored is sent: invites (NIP-43)."""

    def is_asked_by(self, subscription: Subscription) -> bool:
        """True if `deliver` has to come before the answer."""
        ...

    async def deliver(self, subscription: Subscription) -> None:
        """Deliver it as a live event."""
        ...


@dataclass(slots=True, eq=False)
class AnswerSource:
    """What all answers of a relay share: where they come from, what bounds them, and the numbers kept of them.

    Attributes:
        store: has the stored events.
        turns: each step of the store has one; the client's own slowness takes none.
        pending_ids: ids that are being saved and have not been delivered live; see `Subscription`.
        most: events of one second that are sent at most, where that must not be cut.
        slow: keeps what was slow.
        hints: what is said of completeness; None where nothing is.
        unstored: what is delivered before an answer to those who ask for it.
        running: answers on their way, and counts.
        at_once: answers that needed no task.
        outcomes: of all answers, by name.
        duration: seconds of those that needed a task.
        at_once_duration: seconds of the others.
    """

    store: Store
    turns: QueryTurns
    pending_ids: Collection[str]
    most: int
    slow: SlowRequests
    hints: Hints | None = None
    unstored: Unstored | None = None
    running: int = 0
    at_once: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    duration: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    at_once_duration: Histogram = field(default_factory=lambda: Histogram(SECONDS))

    def timeout(self) -> Rejected:
        """What is said of a step that took too long."""
        return Rejected(Prefix.ERROR, f"the query took more than {self.turns.seconds:g} seconds (query_seconds)")


_NO_IDS: Final[set[bytes]] = set()
"""Of answers whose ids nobody will ask for, so that none of them has a set of its own; nothing is put in."""


class StoredAnswer:
    """The stored part of one REQ: send it with `send_nowait`, and where that gives False with `send`."""

    __slots__ = (
        "_filters",
        "_found",
        "_ids",
        "_reader",
        "_seconds",
        "_sent",
        "_source",
        "_wanted",
        "_who",
        "subscription",
    )

    _filters: list[Filter]
    """As the store is asked them, for this reader; there from `_begin` on, as `_wanted` is."""
    _wanted: list[Filter]
    """Those of them that can find anything stored."""

    def __init__(self, source: AnswerSource, subscription: Subscription, who: Identity | None) -> None:
        self.subscription = subscription
        self._source = source
        self._who = who
        """Is charged for it."""
        self._reader: Reader | None = None
        """Who asks, with the keys of the moment in which the answer was begun: later ones count for the next."""
        self._found: Page | None = None
        """The whole answer, where it was found at once but not sent; what came since went out live."""
        self._sent = 0
        self._seconds = 0.0
        """What the store has taken for it, see `Pager.seconds`."""
        self._ids = _NO_IDS
        """Ids that were sent, in hex; empty where nobody will ask for them."""

    def _begin(self) -> None:
        reader = self._reader = self.subscription.reader.now()
        self._filters = [filter_.read_by(reader) for filter_ in self.subscription.filters]
        self._wanted = [filter_ for filter_ in self._filters if filter_.wants_stored]

    def _is_gated(self) -> bool:
        """True if the request could match what is withheld from who asked."""
        reader = self._reader or self.subscription.reader
        return any(could_hide(filter_, reader) for filter_ in self.subscription.filters)

    def send_nowait(self) -> bool:
        """Send what is stored and EOSE at once, and give True; or False, nothing sent, where that is not cheap.

        Most requests are for a few events, found in a fraction of what a thread's hop costs.
        """
        turns = self._source.turns
        began = turns.begin_on_loop(self._who)
        if began is None:
            return False
        is_sent = self._send_on_loop()
        seconds = turns.end_on_loop(self._who, began)
        if is_sent:
            self._source.at_once_duration.observe(seconds)
        return is_sent

    def _send_on_loop(self) -> bool:
        source = self._source
        if self.subscription.entering is not None:
            return False  # what is saved before the whole of it is in the index has to be found stored
        if source.unstored is not None and source.unstored.is_asked_by(self.subscription):
            return False
        self._begin()
        wanted = self._wanted
        page = source.store.query_nowait(with_one_more(wanted, hints=source.hints is not None))
        if page is None:
            self._reader = None
            return False
        cut = _Cut(wanted)
        sent = cut.take(page)
        hint: str | Unsure | None = None
        if source.hints is not None:
            hint = MORE if cut.is_cut else source.hints.tell_nowait(self._filters, len(sent), is_gated=self._is_gated())
        if (
            not isinstance(hint, Unsure)
            and not self._to_be_filled(cut, len(sent), sent)[0]
            and self.subscription.deliver_at_once(sent, source.pending_ids, hint)
        ):
            source.outcomes["answered"] += 1
            source.at_once += 1
            return True
        self._found = page
        return False

    def _to_be_filled(self, cut: _Cut, found: int, last: Page) -> tuple[list[Filter], int]:
        """The filters of which the rest of a second has to be sent, too, and which second that is.

        Args:
            cut: has seen the whole answer.
            found: events of the answer.
            last: the end of it.
        """
        wanted = self._wanted
        if not last or not (cut.is_cut or len(wanted) > 1):
            return [], 0  # most answers: their last event need not be decoded
        oldest = decode(last[-1]).created_at
        return to_be_filled(wanted, found, oldest, is_cut=cut.is_cut), oldest

    @property
    def has_begun(self) -> bool:
        """True once the client has an event of its subscription, whether that was stored or came live."""
        return self._sent > 0 or self.subscription.has_sent_live

    async def send(self) -> bool:
        """Send what is stored and EOSE, and give True; or CLOSED with the reason, and give False.

        Cancelling it ends the query; the subscription's owner takes it out of the index.
        """
        source, outcome = self._source, GIVEN_UP
        try:
            outcome = await self._send()
            source.outcomes[outcome] += 1
        finally:
            if self._seconds >= LEAST_SECONDS:
                source.slow.note("REQ", self.subscription.filters, self._who, self._seconds, outcome, self._sent)
        return outcome == "answered"

    async def _send(self) -> str:
        """Do so; gives the outcome."""
        source, subscription = self._source, self.subscription
        if subscription.entering is not None and (refusal := await subscription.entering.wait()) is not None:
            subscription.refuse(str(refusal))
            return "no_room"
        if source.unstored is not None and source.unstored.is_asked_by(subscription):
            await source.unstored.deliver(subscription)
        started = trio.current_time()
        source.running += 1
        try:
            hint = await self._send_stored()
        except trio.TooSlowError:
            subscription.refuse(str(source.timeout()))
            return "timed_out"
        except NoTurn as refusal:
            subscription.refuse(str(refusal))
            return "overloaded"
        except QueryTooLarge as error:
            subscription.refuse(f"{Prefix.INVALID}: {error}")
            return "too_large"
        except StoreError as error:
            log.error("query failed", error=str(error))
            subscription.refuse(f"{Prefix.ERROR}: {error}")
            return "failed"
        finally:
            source.running -= 1
        if subscription.has_lost_track:
            subscription.refuse(
                f"{Prefix.ERROR}: too many live events came before the stored ones were sent; ask again"
            )
            return "lost_track"
        await subscription.recipient.wait_for_room()  # an answer that just fits leaves none for its end
        source.duration.observe(trio.current_time() - started)
        subscription.end_of_stored(hint)
        return "answered"

    async def _send_stored(self) -> str | None:
        """Send the answer without EOSE; gives the hint for that.

        Raises:
            trio.TooSlowError: a step took too long.
            NoTurn: a step got no turn.
            StoreError: the store could not answer.
        """
        if self._reader is None:
            self._begin()
        wanted, hints = self._wanted, self._source.hints
        cut = _Cut(wanted)
        of_last = await self._send_pages(cut) if wanted else []
        filled, oldest = self._to_be_filled(cut, self._sent, of_last)
        is_whole = True
        for filter_ in filled:
            is_whole = await self._send_ties(filter_, oldest) and is_whole
        if hints is None:
            return None
        try:
            if cut.is_cut and (not filled or await hints.holds(older_than(wanted[0], oldest), self._who)):
                return MORE
            if not is_whole:
                return None
            return await hints.tell(self._filters, self._sent, self._ids, self._who, is_gated=self._is_gated())
        except (trio.TooSlowError, NoTurn):
            return None  # all that was asked for has been sent: that counts, not what can be said of it

    async def _send_pages(self, cut: _Cut) -> Page:
        """Send page after page until there is no more, or the limit is reached; gives the last one."""
        source, wanted = self._source, self._wanted
        # To tell apart what comes again: of a second that is filled up, and of filters that are asked about anew.
        if any(map(could_be_filled, wanted)) or (source.hints is not None and len(wanted) > 1):
            self._ids = set()
        if (found := self._found) is not None:
            self._found = None
            return await self._send_page(found, cut)
        filters = with_one_more(wanted, hints=source.hints is not None)
        of_last: Page = []
        async with aclosing(Pager(partial(source.store.query, filters), source.turns, self._who)) as pages:
            try:
                while not cut.is_cut and (page := await pages.next_page()) is not None:
                    of_last = await self._send_page(page, cut) or of_last
            finally:
                self._seconds += pages.seconds
        return of_last

    async def _send_page(self, page: Page, cut: _Cut) -> Page:
        """Send what the limit allows of a page; gives that."""
        sent = cut.take(page)
        self._sent += len(sent)
        if sent:
            await self.subscription.deliver_stored(sent, self._source.pending_ids)
        if self._ids is not _NO_IDS:
            self._ids.update(map(id_of, sent))
        return sent

    async def _send_ties(self, filter_: Filter, second: int) -> bool:
        """The rest of the events of a second that was begun; False where there may be more than can be sent."""
        tied = 0
        source, sent = self._source, self._ids
        ties = [ties_of(filter_, second, source.most)]
        async with aclosing(Pager(partial(source.store.query, ties), source.turns, self._who)) as pages:
            try:
                while (page := await pages.next_page()) is not None:
                    tied += len(page)
                    if rest := [json for json in page if id_of(json) not in sent]:
                        sent.update(map(id_of, rest))
                        self._sent += len(rest)
                        await self.subscription.deliver_stored(rest, source.pending_ids)
            finally:
                self._seconds += pages.seconds
        return tied < source.most


class _Cut:
    """Takes what one filter's limit allows, and sees that there would have been more."""

    def __init__(self, wanted: Sequence[Filter]) -> None:
        self.is_cut = False
        self._left = wanted[0].limit if len(wanted) == 1 else None

    def take(self, page: Page) -> Page:
        """The part of a page that is to be sent."""
        if self._left is None:
            return page
        self.is_cut = len(page) > self._left
        taken = page[: self._left] if self.is_cut else page
        self._left -= len(taken)
        return taken
