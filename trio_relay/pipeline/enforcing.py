"""Operators' decisions, made and carried out: the lists first, then what is to go from the store."""

from __future__ import annotations

from collections.abc import Sequence

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.filter import Filter
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.lists import Change
from trio_relay.policy.removals import owed
from trio_relay.store.base import StoreError


async def enforce(relay: Relay, changes: Sequence[Change], removed: Sequence[Filter]) -> int:
    """Change the lists and remove what matches any of the filters; gives how many events those were.

    The lists have changed at the first step of this, and from there on the rest is done, whatever becomes of the caller
    and of this process.

    Args:
        relay: whose lists.
        changes: of the lists.
        removed: name authors or ids, which the changes ban, and nothing else.

    Raises:
        Rejected: the store failed; the message says whether the lists are changed all the same.
    """
    try:
        await relay.amend([*changes, *owed(removed, relay.now())])
    except StoreError as error:
        raise Rejected(Prefix.ERROR, str(error)) from error
    try:
        return await relay.removals.carry_out(removed) if removed else 0
    except StoreError as error:
        told = f"{error}; the ban holds, but not all is removed: that is tried again"
        raise Rejected(Prefix.ERROR, told) from error
