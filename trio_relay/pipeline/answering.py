"""The stored part of one REQ: what its reader may read, page by page, and what can be said of its completeness."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from enum import Enum, auto

import trio
from msgspec.structs import replace

from trio_relay.nostr.access import Reader
from trio_relay.nostr.event import decode
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.message import FINISH, MORE
from trio_relay.pipeline.completeness import (
    at_risk,
    could_hide,
    is_inexact,
    older_than,
    ties_of,
    with_one_more,
)
from trio_relay.pipeline.subscription import Subscription
from trio_relay.store.base import ID_SLICE, Page, Queryable


class _Unsure(Enum):
    UNSURE = auto()
    """It takes more than a moment to tell."""


class Answering:
    """Finds and sends stored events.

    Args:
        store: answers.
        unbroadcast: ids that are being saved and have not been delivered live; see `Subscription`.
        seconds: what each step of the store may take.
        most: events that are sent at most where an answer is cut, all events of its last second included.
    """

    def __init__(self, store: Queryable, unbroadcast: Collection[str], seconds: float, most: int) -> None:
        self._store = store
        self._unbroadcast = unbroadcast
        self._seconds = seconds
        self._most = most
        self._holds_private = False
        """True once any private event was seen to be stored, which may be withheld from somebody; it stays so."""

    def at_once(self, subscription: Subscription) -> bool:
        """Send the answer and EOSE, and give True; or False, nothing sent, where that is not cheap."""
        reader = subscription.reader.now()
        filters = _gated(subscription, reader)
        wanted = [filter_ for filter_ in filters if filter_.wants_stored]
        page = self._store.query_nowait(with_one_more(wanted))
        if page is None:
            return False
        cut = _Cut(wanted)
        sent = cut.take(page)
        hint = MORE if cut.is_cut else self._hint_nowait(filters, len(sent), reader)
        is_whole = not (cut.is_cut and wanted[0].is_clamped) and not isinstance(hint, _Unsure)
        if is_whole and subscription.deliver_at_once(
            sent, self._unbroadcast, None if isinstance(hint, _Unsure) else hint
        ):
            return True
        subscription.found = page
        subscription.found_for = reader
        return False

    async def send(self, subscription: Subscription) -> str | None:
        """Send the answer without EOSE; gives the hint for that.

        Raises:
            trio.TooSlowError: a step took too long.
            StoreError: the store could not answer.
        """
        # Keys that come while it is sent count for what comes live, and for the next request.
        reader = subscription.found_for or subscription.reader.now()
        filters = _gated(subscription, reader)
        wanted = [filter_ for filter_ in filters if filter_.wants_stored]
        cut = _Cut(wanted)
        found = 0
        of_last: Page = []
        ids: set[bytes] = set()
        if wanted:
            async with aclosing(self._pages(subscription, wanted)) as pages:
                async for page in pages:
                    sent = cut.take(page)
                    found += len(sent)
                    if sent:
                        await subscription.deliver_stored(sent, self._unbroadcast)
                        of_last = sent
                    if wanted[0].is_clamped or len(wanted) > 1:
                        ids.update(json[ID_SLICE] for json in sent)
                    if cut.is_cut:
                        break
        if cut.is_cut:
            if not (wanted[0].is_clamped and wanted[0].search is None and of_last):
                return MORE
            second = decode(of_last[-1]).created_at
            is_whole = await self._send_ties(subscription, wanted[0], second, ids)
            if await self._holds(older_than(wanted[0], second)):
                return MORE
            if not is_whole:
                return None
        try:
            return await self._hint(filters, found, ids, reader)
        except trio.TooSlowError:
            return None  # all that was asked for has been sent: that counts, not what can be said of it

    async def _pages(self, subscription: Subscription, wanted: Sequence[Filter]) -> AsyncGenerator[Page, None]:
        if (found := subscription.found) is not None:
            subscription.found = None
            yield found
            return
        async with aclosing(self._store.query(with_one_more(wanted))) as pages:
            page: Page | None = []
            while page is not None:
                with trio.fail_after(self._seconds):
                    page = await anext(pages, None)
                if page:
                    yield page

    async def _send_ties(self, subscription: Subscription, filter_: Filter, second: int, sent: set[bytes]) -> bool:
        """The rest of the events of the last second that was sent; False where there may be more than can be sent."""
        tied = 0
        async with aclosing(self._store.query([ties_of(filter_, second, self._most)])) as pages:
            page: Page | None = []
            while page is not None:
                with trio.fail_after(self._seconds):
                    page = await anext(pages, None)
                tied += len(page or ())
                if page and (rest := [json for json in page if json[ID_SLICE] not in sent]):
                    await subscription.deliver_stored(rest, self._unbroadcast)
        return tied < self._most

    def _hint_nowait(self, filters: Sequence[Filter], found: int, reader: Reader) -> str | _Unsure | None:
        if _says_nothing(filters):
            return None
        if at_risk(filters, found):
            return _Unsure.UNSURE
        if _has_all_ids(filters, found):
            return FINISH
        if any(could_hide(filter_, reader) for filter_ in filters):
            if not self._holds_private:
                page = self._store.query_nowait([_private(reader)])
                if page is None:
                    return _Unsure.UNSURE
                self._holds_private = bool(page)
            if self._holds_private:
                return None
        return FINISH

    async def _hint(self, filters: Sequence[Filter], found: int, sent: set[bytes], reader: Reader) -> str | None:
        if _says_nothing(filters):
            return None
        for one in at_risk(filters, found):
            if await self._is_cut(one, sent):
                return MORE
        if _has_all_ids(filters, found):
            return FINISH
        if any(could_hide(filter_, reader) for filter_ in filters):
            self._holds_private = self._holds_private or await self._holds(_private(reader))
            if self._holds_private:
                return None
        return FINISH

    async def _is_cut(self, filter_: Filter, sent: set[bytes]) -> bool:
        """True if a filter matches anything that was not sent, be it for another filter."""
        left = len(sent) + 1  # of so many, one at least was not
        async with aclosing(self._ids(replace(filter_, limit=left))) as pages:
            async for page in pages:
                if not page <= sent:
                    return True
        return False

    async def _holds(self, filter_: Filter) -> bool:
        return filter_.wants_stored and await self._number(filter_) > 0

    async def _number(self, filter_: Filter) -> int:
        """How many events it matches, up to its limit."""
        number = 0
        async with aclosing(self._ids(filter_)) as pages:
            async for page in pages:
                number += len(page)
        return number

    async def _ids(self, filter_: Filter) -> AsyncGenerator[set[bytes], None]:
        """The ids that it matches, up to its limit, in hex."""
        searched = filter_.search is not None  # which has an order of its own, and no records
        async with aclosing(self._store.query([filter_]) if searched else self._store.records(filter_)) as pages:
            page: Page | bytes | None = b""
            while page is not None:
                with trio.fail_after(self._seconds):
                    page = await anext(pages, None)
                if isinstance(page, bytes):
                    yield {page[i + 8 : i + 40].hex().encode() for i in range(0, len(page), 40)}
                elif page:
                    yield {json[ID_SLICE] for json in page}


class _Cut:
    """Takes what one filter's limit allows, and sees that there would have been more."""

    def __init__(self, wanted: Sequence[Filter]) -> None:
        self.is_cut = False
        self._left = wanted[0].limit if len(wanted) == 1 else None

    def take(self, page: Page) -> Page:
        """The part of a page that is to be sent."""
        if self._left is None:
            return page
        taken = page[: self._left]
        self.is_cut = len(taken) < len(page)
        self._left -= len(taken)
        return taken


def _gated(subscription: Subscription, reader: Reader) -> list[Filter]:
    return [filter_.read_by(reader) for filter_ in subscription.filters]


def _private(reader: Reader) -> Filter:
    """Any private event at all."""
    return Filter(kinds=reader.private_kinds, limit=1)


def _says_nothing(filters: Sequence[Filter]) -> bool:
    """True if nothing can be said: stored events are not even asked for, or chosen among."""
    return any(filter_.limit == 0 for filter_ in filters) or is_inexact(filters)


def _has_all_ids(filters: Sequence[Filter], found: int) -> bool:
    """True if each event was asked for by its id, and came."""
    return len(filters) == 1 and filters[0].ids is not None and len(filters[0].ids) == found
