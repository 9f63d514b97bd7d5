"""A sync of the store with another relay, while no relay runs on it: events pass the gates and the pipeline here.

What the other side sends is judged as an import is (`transfer`): by the rules of the day, but for authentication.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import msgspec

from trio_relay import configured
from trio_relay.config import Config
from trio_relay.nostr.signer import Signer
from trio_relay.peers.intake import SyncIntake
from trio_relay.peers.messages import FilterJson
from trio_relay.peers.outcomes import SyncReport
from trio_relay.peers.own_side import OwnSide
from trio_relay.peers.passage import PagedSoFar, Passage
from trio_relay.peers.peer import Peer, open_peer
from trio_relay.peers.reconnecting import LastingSync, Watch
from trio_relay.peers.waiting import PeerLost
from trio_relay.pipeline.opening import open_relay
from trio_relay.plugins.hook_modules import judging
from trio_relay.policy.identity import Identity


async def bring_over(
    config: Config,
    url: str,
    filters: Sequence[FilterJson],
    report: SyncReport,
    watch: Watch,
    *,
    signer: Signer | None = None,
    takes: bool = True,
    gives: bool = True,
) -> None:
    """Sync what each of the filters asks for, one after the other.

    Args:
        config: names the store.
        url: of the other relay.
        filters: see `synchronizing.check_sync_filter`.
        report: filled as it goes.
        watch: runs beside each connection, to show how it goes.
        signer: has the key that is shown to a relay that asks for one (NIP-42).
        takes: False: nothing is fetched.
        gives: False: nothing is offered.

    Raises:
        PeerLost: the other relay cannot be reached, or was lost for good; what came before is stored.
        StoreRefused: a relay runs on the store.
        StoreError: the store failed.
    """
    unhurried = msgspec.structs.replace(config.pipeline, drain_seconds=math.inf)
    lost: PeerLost | None = None
    async with (
        configured.open_store(config) as store,
        judging(config.plugins, store) as judges,
        open_relay(store, unhurried, rules=configured.rules_of(config), judges=judges) as relay,
    ):
        own = OwnSide(store, relay.rules.private_kinds)
        intake = SyncIntake(relay, Identity(is_operator=True), report.down)

        def passage_to(peer: Peer, paged: PagedSoFar) -> Passage:
            return Passage(peer, own, intake, report, takes=takes, gives=gives, paged=paged)

        try:
            await LastingSync(partial(open_peer, url, signer=signer), passage_to, report, watch).run(filters)
        except PeerLost as error:  # from here it would cancel what is on its way
            lost = error
    if lost is not None:
        raise lost
