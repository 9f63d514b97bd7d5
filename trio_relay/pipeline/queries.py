"""What is asked of the store: the stored part of each REQ, and COUNT, each step in its turn and under a deadline."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial

import structlog
import trio

from trio_relay.nostr.access import Reader
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch, canonical_offset
from trio_relay.pipeline.hints import Hints
from trio_relay.pipeline.query_turns import NoTurn, QueryTurns
from trio_relay.pipeline.slow_requests import GIVEN_UP, LEAST_SECONDS, SlowRequests
from trio_relay.pipeline.statistics import QueriesStatistics
from trio_relay.pipeline.stored_answer import AnswerSource, StoredAnswer, Unstored
from trio_relay.pipeline.subscription import Subscription
from trio_relay.policy.identity import Identity
from trio_relay.store.base import QueryTooLarge, Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")


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
        said = Hints(store, turns) if hints else None
        self.slow = SlowRequests(now)
        """What was slow of late."""
        self._source = AnswerSource(store, turns, pending_ids, most, self.slow, said, unstored)
        self._counts: Counter[str] = Counter()

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
        source = self._source
        hopeful = [asked for filter_ in filters if not (asked := filter_.read_by(reader)).is_hopeless]
        source.running += 1
        number: Sketch | int = 0
        began, outcome = trio.current_time(), GIVEN_UP
        try:
            if hopeful:
                number = await source.turns.run(who, self._counting(hopeful), may_yield=True)
            outcome = "answered"
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
            log.error("count failed", error=str(error))
            raise Rejected(Prefix.ERROR, str(error)) from error
        finally:
            source.running -= 1
            if outcome != GIVEN_UP:
                self._counts[outcome] += 1
            if (seconds := trio.current_time() - began) >= LEAST_SECONDS:
                found = number.number if isinstance(number, Sketch) else number
                self.slow.note("COUNT", filters, who, seconds, outcome, found)
        return number

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
