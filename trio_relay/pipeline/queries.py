"""What is asked of the store: the stored part of each REQ, and COUNT, each step in its turn and under a deadline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import structlog
import trio

from trio_relay.nostr.access import Reader
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch, canonical_offset
from trio_relay.pipeline.hints import Hints
from trio_relay.pipeline.paging import Pager
from trio_relay.pipeline.query_turns import NoTurn, QueryTurns
from trio_relay.pipeline.slow_requests import GIVEN_UP, LEAST_SECONDS, SlowRequests
from trio_relay.pipeline.statistics import QueriesStatistics
from trio_relay.pipeline.stored_answer import AnswerSource, StoredAnswer, Unstored
from trio_relay.pipeline.subscription import Subscription
from trio_relay.policy.identity import Identity
from trio_relay.store.base import Page, QueryTooLarge, Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")

T = TypeVar("T")


def _unix_time() -> int:
    return int(time.time())


class Queries:
    """Answers requests out of the store, and keeps the numbers of it.

    Args:
        store, turns, pending_ids, most, unstored: see `AnswerSource`.
        now: seconds since 1970.
        hints: whether answers end with what there is to say of their completeness (NIP-67).
    """

    def __init__(
        self,
        store: Store,
        turns: QueryTurns,
        pending_ids: Collection[str],
        most: int,
        *,
        hints: bool = False,
        unstored: Unstored | None = None,
        now: Callable[[], int] = _unix_time,
    ) -> None:
        self.slow = SlowRequests(now)
        """What was slow of late."""
        self._source = AnswerSource(store, turns, pending_ids, most, self.slow, unstored=unstored)
        self._counts: Counter[str] = Counter()
        self.take_options(most, hints=hints)

    def take_options(self, most: int, *, hints: bool) -> None:
        """Answer by these from now on; see above."""
        source = self._source
        source.most, source.hints = most, Hints(source.store, source.turns) if hints else None

    def answer(self, subscription: Subscription, who: Identity | None = None) -> StoredAnswer:
        """The stored part of a subscription, yet to be sent; `who` is charged for it, None: nobody."""
        return StoredAnswer(self._source, subscription, who)

    async def count(self, filters: Sequence[Filter], reader: Reader, who: Identity | None = None) -> Sketch | int:
        """How many stored events match any of the filters, each once; with a sketch for the filters that have one.

        Args:
            filters: what is counted.
            reader: who may read it.
            who: is charged for it; None: nobody.

        Raises:
            Rejected: it took too long, got no turn, or the store could not tell.
        """
        hopeful = [asked for filter_ in filters if not (asked := filter_.read_by(reader)).is_hopeless]
        if not hopeful:
            self._counts["answered"] += 1
            return 0
        counting = self._source.turns.run(who, self._counting(hopeful), may_yield=True)
        return await self._carried_out("COUNT", filters, who, counting, self._counts)

    async def find(self, filters: Sequence[Filter], who: Identity) -> Page:
        """What is stored and matches any of the filters, all of it at once, as a REQ of this client would find it.

        Args:
            filters: each with a limit, and those few: the whole answer is held.
            who: asks, and is charged for it.

        Returns:
            In the order of the answer; may be empty.

        Raises:
            Rejected: it took too long, got no turn, or the store could not tell.
        """
        source, reader = self._source, who.reader.now()
        wanted = [asked for filter_ in filters if (asked := filter_.read_by(reader)).wants_stored]
        if not wanted:
            return []
        if (began := source.turns.begin_on_loop(who)) is not None:
            page = source.store.query_nowait(wanted)
            source.turns.end_on_loop(who, began)
            if page is not None:
                source.outcomes["answered"] += 1
                source.at_once += 1
                return page
        return await self._carried_out("REQ", filters, who, self._all_of(wanted, who), source.outcomes)

    async def _all_of(self, wanted: Sequence[Filter], who: Identity) -> Page:
        source = self._source
        found: Page = []
        async with aclosing(Pager(partial(source.store.query, wanted), source.turns, who)) as pages:
            while (page := await pages.next_page()) is not None:
                found += page
        return found

    async def _carried_out(
        self,
        verb: str,
        filters: Sequence[Filter],
        who: Identity | None,
        asked: Awaitable[T],
        outcomes: Counter[str],
    ) -> T:
        """What is asked of the store, with its outcome counted, and noted where that took long.

        Raises:
            Rejected: it took too long, got no turn, or the store could not tell.
        """
        source = self._source
        source.running += 1
        began, outcome, number = trio.current_time(), GIVEN_UP, 0
        try:
            found = await asked
            outcome, number = "answered", _number_of(found)
            return found
        except trio.TooSlowError:
            outcome = "timed_out"
            raise source.timeout() from None
        except NoTurn:
            outcome = "overloaded"
            raise
        except QueryTooLarge as error:
            outcome = "too_large"
            raise Rejected(Prefix.INVALID, str(error)) from error
        except StoreError as error:
            outcome = "failed"
            log.error("query failed" if verb == "REQ" else "count failed", error=str(error))
            raise Rejected(Prefix.ERROR, str(error)) from error
        finally:
            source.running -= 1
            if outcome != GIVEN_UP:
                outcomes[outcome] += 1
            if (seconds := trio.current_time() - began) >= LEAST_SECONDS:
                self.slow.note(verb, filters, who, seconds, outcome, number)

    def _counting(self, filters: Sequence[Filter]) -> Callable[[], Awaitable[Sketch | int]]:
        store = self._source.store
        if (offset := canonical_offset(filters)) is not None:
            return partial(store.sketch, filters[0], offset)
        return partial(store.count, filters)

    def statistics(self) -> QueriesStatistics:
        """What has been asked so far."""
        source = self._source
        return QueriesStatistics(
            source.running,
            source.at_once,
            dict(source.outcomes),
            source.duration.statistics(),
            dict(self._counts),
            source.at_once_duration.statistics(),
        )


def _number_of(found: object) -> int:
    """How many events were found or counted."""
    if isinstance(found, Sketch):
        return found.number
    return found if isinstance(found, int) else len(found) if isinstance(found, list) else 0
