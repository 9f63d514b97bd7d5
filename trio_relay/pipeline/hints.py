"""What can be said of an answer's completeness at its end (NIP-67), with as few looks into the store as that takes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from enum import Enum, auto
from functools import partial
from typing import Final

from msgspec.structs import replace

from trio_relay.nostr.filter import Filter
from trio_relay.nostr.message import FINISH, MORE
from trio_relay.pipeline.completeness import at_risk, is_inexact
from trio_relay.pipeline.paging import Pager
from trio_relay.pipeline.query_turns import QueryTurns
from trio_relay.policy.identity import Identity
from trio_relay.store.base import Page, Queryable, id_of


class Unsure(Enum):
    """The type of `UNSURE`."""

    UNSURE = auto()


UNSURE: Final = Unsure.UNSURE
"""It takes more than a moment to tell."""


class Hints:
    """Tells of answers whether they were whole; one for all answers of a relay.

    Args:
        store: has the stored events.
        turns: each step of the store has one.
    """

    def __init__(self, store: Queryable, turns: QueryTurns) -> None:
        self._store = store
        self._turns = turns

    def tell_nowait(self, filters: Sequence[Filter], found: int, *, is_gated: bool) -> str | Unsure | None:
        """The hint for an answer of so many events that was not cut; None for no hint, `UNSURE` where it takes `tell`.

        Args:
            filters: of the request, for its reader.
            found: events of the answer.
            is_gated: whether the request could match what is withheld from its reader (`completeness.could_hide`).
        """
        if self._says_nothing(filters):
            return None
        if at_risk(filters, found):
            return UNSURE
        return _at_the_end(filters, found, is_gated=is_gated)

    async def tell(
        self, filters: Sequence[Filter], found: int, ids: set[bytes], who: Identity | None, *, is_gated: bool
    ) -> str | None:
        """The same, however long it takes.

        Args:
            filters, found, is_gated: see `tell_nowait`.
            ids: what was sent, in hex, if there are several filters.
            who: is charged for the looks.

        Raises:
            trio.TooSlowError: a step took too long.
            NoTurn: a step got no turn.
            StoreError: the store could not answer.
        """
        if self._says_nothing(filters):
            return None
        for filter_ in at_risk(filters, found):
            if await self._is_cut(filter_, ids, who):
                return MORE
        return _at_the_end(filters, found, is_gated=is_gated)

    def _says_nothing(self, filters: Sequence[Filter]) -> bool:
        """True if nothing can be said: stored events are not asked for, are chosen among, or may not be found yet."""
        if any(filter_.limit == 0 for filter_ in filters) or is_inexact(filters):
            return True
        return not self._store.has_all_words and any(filter_.search is not None for filter_ in filters)

    async def holds(self, filter_: Filter, who: Identity | None) -> bool:
        """True if anything stored matches the filter; raises what `tell` does."""
        if not filter_.wants_stored:
            return False
        async with aclosing(self._pages_of(filter_, who)) as pages:
            return await pages.next_page() is not None

    async def _is_cut(self, filter_: Filter, ids: set[bytes], who: Identity | None) -> bool:
        """True if a filter matches anything that was not sent, be it for another filter."""
        left = len(ids) + 1  # of so many, one at least was not
        async with aclosing(self._pages_of(replace(filter_, limit=left), who)) as pages:
            while (page := await pages.next_page()) is not None:
                if not _ids_in(page) <= ids:
                    return True
        return False

    def _pages_of(self, filter_: Filter, who: Identity | None) -> Pager[Page | bytes]:
        """What it matches, up to its limit."""
        if filter_.search is not None:  # which has an order of its own, and no records
            return Pager(partial(self._store.query, [filter_]), self._turns, who)
        return Pager(partial(self._store.records, filter_), self._turns, who)


def _ids_in(page: Page | bytes) -> set[bytes]:
    """The ids in a page of events or of sync records, in hex."""
    if isinstance(page, bytes):
        return {page[i + 8 : i + 40].hex().encode() for i in range(0, len(page), 40)}
    return {id_of(json) for json in page}


def _at_the_end(filters: Sequence[Filter], found: int, *, is_gated: bool) -> str | None:
    """The hint for an answer that no limit has cut.

    Whether anything is withheld is never looked up: a relay that said `finish` to everything until it holds the first
    private event would tell when that came.
    """
    has_all_ids = len(filters) == 1 and filters[0].ids is not None and len(filters[0].ids) == found
    return FINISH if has_all_ids or not is_gated else None
