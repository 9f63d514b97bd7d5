"""The stored part of a REQ, under a deadline: its pages into the outbox, then EOSE; a failure is CLOSED, never EOSE.

And COUNT, under the same deadline.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog
import trio

from trio_relay.nostr.access import Reader
from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.hyperloglog import Sketch, canonical_offset
from trio_relay.pipeline.answering import Answering
from trio_relay.pipeline.statistics import SECONDS, Distribution, Histogram
from trio_relay.pipeline.subscription import Subscription
from trio_relay.store.base import Store, StoreError

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
        most: see `Answering`.
    """

    def __init__(self, store: Store, seconds: float, unbroadcast: Collection[str], most: int) -> None:
        self._store = store
        self._seconds = seconds
        self._answering = Answering(store, unbroadcast, seconds, most)
        self._running = 0
        self._outcomes: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._at_once = 0
        self._duration = Histogram(SECONDS)

    def answer_nowait(self, subscription: Subscription) -> bool:
        """Send what is stored and EOSE at once, and give True; or False, nothing sent, where that is not cheap.

        Most requests are for a few events, found in a fraction of what a thread's hop costs.
        """
        if not self._answering.at_once(subscription):
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
            hint = await self._answering.send(subscription)
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
        await subscription.recipient.wait_for_room()  # an answer that just fits leaves none for its end
        self._outcomes["answered"] += 1
        self._duration.observe(trio.current_time() - started)
        subscription.end_of_stored(hint)
        return True

    async def count(self, filters: Sequence[Filter], reader: Reader) -> Sketch | int:
        """How many stored events match any of the filters, each once; with a sketch for the filters that have one.

        Raises:
            Rejected: it took too long, or the store could not tell.
        """
        hopeful = [filter_.read_by(reader) for filter_ in filters if not filter_.is_hopeless]
        self._running += 1
        number: Sketch | int = 0
        try:
            with trio.fail_after(self._seconds):
                if (offset := canonical_offset(hopeful)) is not None:
                    number = await self._store.sketch(hopeful[0], offset)
                elif hopeful:
                    number = await self._store.count(hopeful)
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
