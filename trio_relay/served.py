"""What a process serves clients with, and how all of that goes by another configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from trio_relay.config import Config
from trio_relay.configured import Entrance, rules_of, sync_options
from trio_relay.net.endpoints import Endpoints, Management
from trio_relay.net.server import Server
from trio_relay.net.web.assembly import has_links
from trio_relay.net.web.console import Console
from trio_relay.net.web.site import Site
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.rules import Rules
from trio_relay.process import make_room


@dataclass(frozen=True, slots=True)
class Served:
    """A relay and all by which a process serves clients with it, which go by another configuration together."""

    relay: Relay
    server: Server
    front: Endpoints
    site: Site
    entrances: Sequence[Entrance]

    def take_options(self, config: Config) -> None:
        """Go by this configuration from now on, for those who are here already, too; sync, and does not fail."""
        relay, site = self.relay, self.site
        make_room(config.net.max_connections)
        relay.judges.exemptions.take_options(config.plugins)
        relay.take_options(config.pipeline, sync_options(config), rules_of(config, self.entrances))
        site.take_options(config.web)
        urls = urls_of(config, relay.rules)
        self.front.take_options(greeting_of(config), urls, site if config.web.enabled else None)
        self.server.take_options(config.net)


def take_console(console: Console, relay: Relay, config: Config, secret: bytes) -> None:
    """Have a console go by a configuration, which its relay goes by already; sync."""
    console.take_options(config.web.session_seconds, secret, has_links=has_links(config.web, relay.rules))


def endpoints_of(
    config: Config,
    relay: Relay,
    management: Management,
    check: Callable[[], Awaitable[str | None]],
    degraded: Callable[[], str | None],
    site: Site,
) -> Endpoints:
    """Return what is answered over HTTP.

    Args:
        config: checked.
        relay: of this process.
        management: answers operators.
        check: tells why the whole relay cannot store events now, or None.
        degraded: tells what is worse than it should be beside the relay of this process, or None; asked after `check`.
        site: answers browsers, if the configuration wants that.
    """
    return Endpoints(
        relay.document,
        check,
        greeting_of(config),
        management,
        urls_of(config, relay.rules),
        lambda: relay.degraded() or degraded(),
        relay.judges.connections,
        site if config.web.enabled else None,
    )


def urls_of(config: Config, rules: Rules) -> tuple[str, ...]:
    """Return whose paths are served: the relay's names, and the paths that the configuration adds."""
    return *rules.names, *config.net.paths


def greeting_of(config: Config) -> str:
    """Return the line for whoever opens the relay's address in a browser."""
    return f"{config.relay.name}: a Nostr relay. Connect to it with a Nostr client.\n"
