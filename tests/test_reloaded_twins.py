"""A relay that was told of another configuration is, in all that it keeps, as one that was started with it.

Both have a client that came before. What a relay keeps of its configuration is found by looking: it is what is another
where a setting is. So a setting that something has kept a copy of, and that is not told of changes, shows itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.support.inside_objects import tasks_in, values_in
from tests.support.keys import NOW
from tests.support.marks import looks_into_objects
from tests.support.server import Door, MemoryListener
from tests.support.settings import changed, configuration, names
from trio_relay import AdminApi, MemoryStore, Server, configured, open_relay, served
from trio_relay.attending import Attending
from trio_relay.backup import regular
from trio_relay.config import Config, check_together
from trio_relay.live_settings import FIXED, compared
from trio_relay.net import clients, endpoints, vitals, web
from trio_relay.plugins import judges as judging

pytestmark = [pytest.mark.usefixtures("inline_threads"), looks_into_objects]

LIVE: Final = [name for name in names() if name not in FIXED]
ELSEWHERE: Final = {
    "net.tls_certificate": "the files that are followed, tests/test_reloading.py",
    "net.tls_key": "likewise",
    "policy.files_seconds": "likewise",
    "mirror": "links, tests/peers/test_mirror_links.py",
    "memory.total_bytes": "nothing but what it is divided into",
    "web.admin": "nothing where there are admins",
    "log.level": "the log of the process, tests/test_reloading.py",
    "log.format": "likewise",
}
"""Settings of which these objects keep nothing, or nothing that they use, and where that is."""


class Twin:
    """A relay with all that serves clients, and one client."""

    def __init__(self, whole: served.Served, console: web.console.Console, attending: Attending) -> None:
        self.served = whole
        self._console = console
        self._attending = attending

    def take(self, config: Config) -> None:
        """Go by another configuration, as the program has it done."""
        self.served.take_options(config)
        served.take_console(self._console, self.served.relay, config, b"a secret")
        self._attending.take_options(config)

    def values(self) -> Mapping[str, object]:
        """All that it keeps."""
        serving = {name: getattr(self.served, name) for name in ("relay", "server", "front", "site")}
        return values_in({**serving, "console": self._console, "attending": self._attending})


@asynccontextmanager
async def twin(config: Config) -> AsyncIterator[tuple[Twin, trio.Nursery]]:
    """One that was started with this configuration."""
    async with (
        trio.open_nursery() as nursery,
        judging.open_judges(config.plugins) as judges,
        open_relay(
            MemoryStore(),
            config.pipeline,
            rules=configured.rules_of(config),
            sync=configured.sync_options(config),
            clock=lambda: NOW,
            judges=judges,
        ) as relay,
    ):
        table = clients.Clients(relay.now)

        async def look() -> vitals.Look:
            return vitals.look_at(NOW, relay.statistics(), server.statistics(), 0.0, 0)

        kept = vitals.Vitals(look, relay.count_stored)
        api = AdminApi(relay)
        pages = web.assembly.pages_of(msgspec.structs.replace(config.web, templates="", icon="", banner=""))
        console = await web.assembly.open_console(relay, config.web, api, pages, kept)
        site = web.site.Site(relay, config.web, pages, kept, console)
        front = served.endpoints_of(config, relay, api, relay.check, lambda: None, site)
        server = Server(relay, front, config.net, clients=table)
        attending = Attending(
            config, endpoints.MetricsEndpoint(lambda: (b"", "")), (), regular.Backups(config.backup, None)
        )
        listener, stop = MemoryListener(), trio.Event()
        await nursery.start(server.serve, [listener], stop)
        served.take_console(console, relay, config, b"a secret")
        async with Door(relay, server, listener, stop).client():
            await wait_all_tasks_blocked()
            yield Twin(served.Served(relay, server, front, site, ()), console, attending), nursery
        nursery.cancel_scope.cancel()


async def values(config: Config, then: Config | None = None) -> Mapping[str, object]:
    """What a relay keeps that was started with one configuration, and told of another."""
    async with twin(config) as (one, nursery):
        if then is not None:
            one.take(then)
            await wait_all_tasks_blocked()
        return {**one.values(), **values_in(tasks_in(nursery))}


def differing(one: Mapping[str, object], other: Mapping[str, object]) -> set[str]:
    nothing = object()
    return {way for way in one.keys() | other.keys() if one.get(way, nothing) != other.get(way, nothing)}


SAID: Final = ("._sent", "._has_challenged", "._grown")
"""Numbers that depend on whether the client was sent a challenge when it came."""


async def kept_of(one: Config, other: Config) -> dict[str, tuple[object, object]]:
    """What is another in a relay that was started with the other configuration: in that, and in one that was told."""
    fresh, told = await values(other), await values(one, other)
    by_chance = differing(fresh, await values(other)) | differing(told, await values(one, other))
    ways = differing(await values(one), fresh) - by_chance
    return {way: (fresh.get(way), told.get(way)) for way in ways if not way.endswith(SAID)}


@pytest.mark.parametrize("left_out", [(), ("rates.enabled",)], ids=["all", "but that rates are off"])
async def test_what_is_kept_of_all_settings_is_what_a_new_relay_keeps(
    mock_clock: MockClock, left_out: tuple[str, ...]
) -> None:
    others = changed(*(name for name in LIVE if name not in left_out))
    kept = await kept_of(configuration(), compared(configuration(), others, check_together).config)
    assert len(kept) > len(LIVE)
    assert {way: pair for way, pair in kept.items() if pair[0] != pair[1]} == {}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", LIVE)
async def test_each_setting_that_changes_at_once_is_kept_somewhere_and_everywhere_anew(
    mock_clock: MockClock, name: str
) -> None:
    kept = await kept_of(configuration(), changed(name))
    assert kept or name in ELSEWHERE
    assert {way: pair for way, pair in kept.items() if pair[0] != pair[1]} == {}
