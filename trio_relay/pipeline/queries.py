"""The stored part of a REQ, under a deadline: its pages into the outbox, then EOSE; a failure is CLOSED, never EOSE.

And COUNT, under the same deadline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import structlog
import trio

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.pipeline.statistics import SECONDS, Distribution, Histogram
from trio_relay.pipeline.subscription import Subscription
from trio_relay.store.base import Page, Store, StoreError

log = structlog.get_logger("trio_relay.pipeline")


@dataclass(frozen=True, slots=True)
class QueriesStatistics:
    """How queries are: running now, answered at once so far, all outcomes, seconds that those that waited took.

    Counts are among those that run now, and have outcomes of their own.
    """

    running: int
    at_once: int
    outcomes: dict[str, int]
    seconds: Distribution
    counts: dict[str, int]


class Queries:
    """Runs stored queries.

    Args:
        store: answers them.
        seconds: what each page may take, the waiting for a free reader included; not the client's own slowness.
        unbroadcast: ids that are being saved and have not been delivered live; see `Subscription`.
    """

    def __init__(self, store: Store, seconds: float, unbroadcast: Collection[str]) -> None:
        self._store = store
        self._seconds = seconds
        self._unbroadcast = unbroadcast
        self._running = 0
        self._outcomes: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._at_once = 0
        self._duration = Histogram(SECONDS)

    def answer_nowait(self, subscription: Subscription) -> bool:
        """Send what is stored and EOSE at once, and give True; or False, nothing sent, where that is not cheap.

        Most requests are for a few events, found in a fraction of what a thread's hop costs.
        """
        page = self._store.query_nowait(subscription.filters)
        if page is None:
            return False
        if not subscription.deliver_at_once(page, self._unbroadcast):
            subscription.found = page
            return False
        self._outcomes["answered"] += 1
        self._at_once += 1
        return True

    async def answer(self, subscription: Subscription) -> bool:
        """Send what is stored and EOSE, and give True; or CLOSED with the reason, and give False.

        Cancelling it ends the query; the subscription's owner takes it out of the index.
        """
        started = trio.current_time()
        self._running += 1
        try:
            await self._send_pages(subscription)
        except trio.TooSlowError:
            self._outcomes["timed_out"] += 1
            subscription.refuse(str(self._timeout()))
            return False
        except StoreError as error:
            self._outcomes["failed"] += 1
            log.error("query failed", error=str(error))
            subscription.refuse(f"error: {error}")
            return False
        finally:
            self._running -= 1
        if subscription.has_lost_track:
            self._outcomes["lost_track"] += 1
            subscription.refuse("error: too many live events came before the stored ones were sent; ask again")
            return False
        await subscription.outbox.wait_for_room()  # an answer that just fits leaves none for its end
        self._outcomes["answered"] += 1
        self._duration.observe(trio.current_time() - started)
        subscription.end_of_stored()
        return True

    async def _send_pages(self, subscription: Subscription) -> None:
        if (found := subscription.found) is not None:
            subscription.found = None
            await subscription.deliver_stored(found, self._unbroadcast)
            return
        wanted = [one for one in subscription.filters if one.wants_stored]
        if not wanted:
            return
        async with aclosing(self._store.query(wanted)) as pages:
            page: Page | None = []
            while page is not None:
                with trio.fail_after(self._seconds):
                    page = await anext(pages, None)
                if page:
                    await subscription.deliver_stored(page, self._unbroadcast)

    async def count(self, filters: Sequence[Filter]) -> int:
        """How many stored events match any of the filters, each once.

        Raises:
            Rejected: it took too long, or the store could not tell.
        """
        hopeful = [one for one in filters if not one.is_hopeless]
        self._running += 1
        try:
            with trio.fail_after(self._seconds):
                number = await self._store.count(hopeful) if hopeful else 0
        except trio.TooSlowError:
            self._counts["timed_out"] += 1
            raise self._timeout() from None
        except StoreError as error:
            self._counts["failed"] += 1
            log.error("count failed", error=str(error))
            raise Rejected(Prefix.ERROR, str(error)) from error
        finally:
            self._running -= 1
        self._counts["answered"] += 1
        return number

    def _timeout(self) -> Rejected:
        return Rejected(Prefix.ERROR, f"the query took more than {self._seconds:g} seconds (query_seconds)")

    def statistics(self) -> QueriesStatistics:
        """What has been asked so far."""
        return QueriesStatistics(
            self._running, self._at_once, dict(self._outcomes), self._duration.statistics(), dict(self._counts)
        )
