"""What a mirror does at each connect: it compares both relays, filter by filter, and has what is lacking brought over.

No time is remembered from one connection to the next. Sets are compared, so that what was lost in whatever way is found
again: a clock that was wrong, a relay that was set back, a crash of either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from trio_relay.nostr.filter import parse_filter
from trio_relay.peers.feeding import FoundEvents, MirrorFeed
from trio_relay.peers.intake import MirrorIntake
from trio_relay.peers.mirrored import MirroredEvents
from trio_relay.peers.outcomes import SyncReport
from trio_relay.peers.own_side import OwnSide
from trio_relay.peers.passage import Passage
from trio_relay.peers.peer import Peer
from trio_relay.peers.synchronizing import synchronize
from trio_relay.store.base import Store

log = structlog.get_logger("trio_relay.peers")


@dataclass(frozen=True, slots=True)
class LinkEnds:
    """Both ends of a link that stands.

    Attributes:
        store: of this relay.
        peer: the other relay.
        events: of the mirror.
        since: the least `created_at` that is compared, seconds since 1970; None: all.
        taken: takes what is missing here.
        takes: False: nothing is to be taken.
        given: gives what is missing there; None: nothing is given.
    """

    store: Store
    peer: Peer
    events: MirroredEvents
    since: int | None
    taken: MirrorIntake
    takes: bool
    given: MirrorFeed | None


async def catch_up(ends: LinkEnds) -> None:
    """Compare both relays, and have taken and given what one of them lacks.

    Raises:
        PeerLost, PeerRefused: see `peer.Peer`.
        StoreError: the store could not tell.
    """
    for source in ends.events.sources:
        report = SyncReport()
        await synchronize(_passage(ends, source, report), _since(source, ends.since))
        for remark in report.remarks:
            log.debug("mirror compared", mirror=ends.events.identity.address, remark=remark)


def _passage(ends: LinkEnds, source: Mapping[str, object], report: SyncReport) -> Passage:
    named = parse_filter(dict(source)).kinds or frozenset[int]()
    own = OwnSide(ends.store, ends.events.private_kinds - named)
    given = None if ends.given is None else FoundEvents(own, ends.given)
    gives = given is not None
    return Passage(ends.peer, own, ends.taken, report, takes=ends.takes, gives=gives, feeding=given)


def _since(source: Mapping[str, object], since: int | None) -> Mapping[str, object]:
    """Return the filter for what is no older than that."""
    own = source.get("since")
    times = [time for time in (own, since) if isinstance(time, int)]
    return {**source, "since": max(times)} if times else source
