"""Take events only of people that the owner's followers follow.

    [plugins]
    hooks = "hooks/followed_by_followers.py"
    hooks_options = { owner = "<the owner's key in hex>", least_followers = 3 }

Who follows the owner is known by the lists of follows (NIP-02, kind 3) that this relay has stored; a task reads them
again and again. Everybody can follow the owner, and so let in whom they follow: that is why several must follow the
same key. Followers who have just come count from the next reading on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Annotated

import msgspec
import structlog
import trio
from msgspec import Meta

from trio_relay import Event, Filter, HookedRelay, Reject, Source, StoreError

FOLLOWS = 3

log = structlog.get_logger("followed_by_followers")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator says.

    Attributes:
        owner: whose followers count; hex.
        least_followers: so many of them must follow a key; their own keys need nobody.
        seconds: between two readings.
        most_followers: whose lists are read, those of the newest lists first.
        most_keys: that are remembered, some 200 bytes each while the lists are read.
        open_kinds: that everybody may send: by default requests to delete and to vanish, and gift wraps, whose keys
            are thrown away.
    """

    owner: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    least_followers: Annotated[int, Meta(ge=1)] = 2
    seconds: Annotated[float, Meta(gt=0)] = 600.0
    most_followers: Annotated[int, Meta(ge=1)] = 5_000
    most_keys: Annotated[int, Meta(ge=1)] = 200_000
    open_kinds: frozenset[int] = frozenset({5, 62, 1059})


class FollowedByFollowers:
    """Knows who may write.

    Args:
        relay: has the lists.
        options: whose followers count.
    """

    def __init__(self, relay: HookedRelay, options: Options) -> None:
        self._relay = relay
        self._options = options
        self._welcome: frozenset[str] = frozenset()

    def on_event(self, event: Event, source: Source) -> Reject | None:
        """Refuse an event of somebody whom too few follow, unless it makes them a follower."""
        if source.way != "client" or event.pubkey in self._welcome or event.kind in self._options.open_kinds:
            return None
        if event.kind == FOLLOWS and self._options.owner in _followed(event):
            return None
        return Reject("restricted: only people that followers of this relay's owner follow may write here")

    async def keep_reading(self) -> None:
        """Read the lists again and again."""
        while True:
            await trio.sleep(self._options.seconds)
            try:
                await self.read()
            except StoreError as error:
                log.warning("who is followed stays as it was", error=str(error))

    async def read(self) -> None:
        """Find out who may write.

        Raises:
            StoreError: the store could not answer.
        """
        options = self._options
        followers, counts = {options.owner}, Counter[str]()
        wanted = Filter(
            kinds=frozenset({FOLLOWS}), tags=(("p", frozenset({options.owner})),), limit=options.most_followers
        )
        async with aclosing(self._relay.events(wanted)) as lists:
            async for event in lists:
                followers.add(event.pubkey)
                for key in _followed(event):
                    if key in counts or len(counts) < options.most_keys:
                        counts[key] += 1
        self._welcome = frozenset(followers).union(
            key for key, number in counts.items() if number >= options.least_followers
        )
        log.info("people that followers follow", followers=len(followers) - 1, welcome=len(self._welcome))


def _followed(event: Event) -> set[str]:
    return {tag[1] for tag in event.tags if len(tag) > 1 and tag[0] == "p"}


@asynccontextmanager
async def start(relay: HookedRelay, options: Options) -> AsyncIterator[FollowedByFollowers]:
    """Read the lists once before anybody is judged, and then in a task for as long as the relay runs."""
    hooks = FollowedByFollowers(relay, options)
    await hooks.read()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hooks.keep_reading)
        yield hooks
        nursery.cancel_scope.cancel()
