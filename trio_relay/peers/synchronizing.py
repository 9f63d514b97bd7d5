"""A whole sync with another relay: by NIP-77 where it speaks that, else, or where it refuses that, by time."""

from __future__ import annotations

from contextlib import aclosing

from trio_relay.nostr.errors import invalid
from trio_relay.nostr.filter import parse_filter
from trio_relay.peers.messages import FilterJson
from trio_relay.peers.offering import Offering
from trio_relay.peers.paging_back import PagingBack
from trio_relay.peers.passage import Passage
from trio_relay.peers.reconciling import Reconciling
from trio_relay.peers.stretches import TimeSpan, stretch_of
from trio_relay.peers.waiting import PeerLost, PeerRefused, Unanswered


def check_sync_filter(filter_: FilterJson) -> None:
    """Refuse a filter by which no sets can be compared.

    Raises:
        Rejected: it is none, or has a limit or a search.
    """
    parsed = parse_filter(dict(filter_), all_of=True)
    if parsed.limit is not None:
        raise invalid("a filter of a sync has no limit: the newest events there are other ones than here")
    if parsed.search is not None:
        raise invalid("a filter of a sync has no search: each relay finds something else by it")


async def synchronize(passage: Passage, filter_: FilterJson) -> None:
    """Bring over what a filter asks for, in the directions of the passage; all that came is stored, or refused, then.

    Raises:
        PeerLost: see `Peer`; what came before is stored.
        StoreError: the store could not tell.
    """
    try:
        await _bring_over(passage, filter_)
    except PeerLost:
        await passage.intake.settle()
        raise
    await passage.intake.settle()


async def _bring_over(passage: Passage, filter_: FilterJson) -> None:
    reconciling = Reconciling(passage, filter_)
    try:
        async with aclosing(reconciling.run()) as refused:
            async for stretch, reason in refused:
                passage.report.remark(f"a part is not compared there ({reason}): paging by time instead")
                await _page(passage, filter_, stretch)
    except (PeerRefused, Unanswered) as why:
        if reconciling.has_begun:
            raise
        passage.report.remark(f"it compares no sets by NIP-77 ({why}): paging by time instead")
        await _page(passage, filter_, stretch_of(filter_))


async def _page(passage: Passage, filter_: FilterJson, stretch: TimeSpan) -> None:
    try:
        if passage.takes:
            await PagingBack(passage, filter_).take(stretch)
    except PeerRefused as refusal:
        passage.report.remark(f"it does not give its events: {refusal}", misses_some=True)
    if passage.gives:
        await Offering(passage, filter_).give(stretch)
