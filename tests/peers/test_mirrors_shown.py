"""What operators are shown of mirrors: on the page of metrics, by NIP-86, and beside the relay's health."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.peers.neighbourhood import Neighbourhood, publish, state, table, until
from tests.support.keys import ALICE, NOW
from tests.support.named_relay import rules_for
from tests.support.operators import ADMIN, operator
from trio_relay.metrics import MetricsPage
from trio_relay.peers import mirror_options

pytestmark = pytest.mark.usefixtures("inline_threads")


async def test_operators_see_each_mirror_and_no_password(autojump_clock: MockClock) -> None:
    rules = rules_for(admins=(ADMIN.pubkey,))
    followed = mirror_options.MirrorOptions(url="ws://me:sesame@there/", direction="both")
    async with (
        Neighbourhood().open() as near,
        near.relay("here", rules=rules) as here,
        near.relay("there") as there,
        operator(here) as admin,
    ):
        assert await admin.call("listmirrors") == []
        near.away.add("away")
        async with near.mirroring(here, followed, table("away", "up")) as mirrors:
            await publish(there, ALICE.event())
            await until(lambda: "live" in [one.state for one in mirrors.statistics().values()])
            one, other = await admin.call("listmirrors")
            assert (one["url"], one["direction"], one["state"]) == ("ws://there/", "both", "live")
            assert (one["outcomes"]["taken"], one["catch_ups"], one["waiting"]) == (1, 1, 0)
            assert "fault" not in one
            assert (other["url"], other["state"], other["fault"]) == ("ws://away/", "away", "no connection: away")
            assert NOW <= other["since"] <= here.relay.now()
            page = MetricsPage(lambda: (here.relay.statistics(), here.server.statistics())).render()[0].decode()
            assert 'trio_relay_mirror_connected{direction="both",mirror="ws://there/"} 1.0\n' in page
            assert 'trio_relay_mirror_connected{direction="up",mirror="ws://away/"} 0.0\n' in page
            assert 'mirror_events_total{direction="both",mirror="ws://there/",outcome="taken"} 1.0\n' in page
            assert "sesame" not in page
        assert await admin.call("listmirrors") == []


async def test_of_several_that_are_away_the_one_is_named_that_is_so_for_longest(autojump_clock: MockClock) -> None:
    async with Neighbourhood().open() as near, near.relay("here") as here, near.relay("there"):
        near.away |= {"one", "two"}
        async with near.mirroring(here, table("one"), table("there")) as mirrors:
            await until(lambda: False in [one.state != "live" for one in mirrors.statistics().values()])
            await until(lambda: here.relay.degraded() is not None)
            mirrors.take([table("one"), table("there"), table("two")])
            await until(lambda: "and 1 more" in str(here.relay.degraded()))
            assert str(here.relay.degraded()).startswith("mirror ws://one/ is away for 1")
            assert await here.relay.check() is None, "which is no failure"
            mirrors.take([table("there")])
            assert here.relay.degraded() is None
            assert state(mirrors) == "live"
