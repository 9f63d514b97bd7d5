"""The site of a relay, put together: its pages, who may come into the console, and what goes on beside it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from trio_relay.moderation.state import CONSOLE_SECRET
from trio_relay.net.admin.api import AdminApi
from trio_relay.net.vitals import VitalsSource
from trio_relay.net.web.console import Console
from trio_relay.net.web.login import Login
from trio_relay.net.web.options import WebOptions
from trio_relay.net.web.rendering import Pages
from trio_relay.net.web.sessions import Sessions
from trio_relay.net.web.site import Site
from trio_relay.net.web.visit import ConsolePage
from trio_relay.pipeline.relay import Relay
from trio_relay.policy.rules import Rules


def pages_of(options: WebOptions) -> Pages:
    """The templates and files that the configuration asks for."""
    pictures = {name: Path(path) for name, path in (("icon", options.icon), ("banner", options.banner)) if path}
    return Pages(Path(options.templates) if options.templates else None, pictures)


async def open_site(relay: Relay, options: WebOptions, api: AdminApi, vitals: VitalsSource) -> Site:
    """The site of a relay that is one process.

    Raises:
        StoreError: what links are signed by could not be stored.
        PagesRefused: the operator's own templates or files cannot be used.
    """
    pages = pages_of(options)
    return Site(relay, options, pages, vitals, await open_console(relay, options, api, pages, vitals))


async def open_console(relay: Relay, options: WebOptions, api: AdminApi, pages: Pages, vitals: VitalsSource) -> Console:
    """The console of the process that decides.

    Raises:
        StoreError: what links are signed by could not be stored.
        PagesRefused: the operator's own templates or files cannot be used.
    """
    if options.enabled and pages.has_own:
        await pages.ready()
    return _console(relay, options, api, pages, vitals, await secret_of_links(relay, options, relay.rules))


def doorway(relay: Relay, options: WebOptions, pages: Pages, vitals: VitalsSource) -> Console:
    """A console in which nobody is logged in: another process has the one where people are."""
    return _console(relay, options, AdminApi(relay), pages, vitals, b"")


async def secret_of_links(relay: Relay, options: WebOptions, rules: Rules) -> bytes:
    """What links into the console are signed by, which is made the first time; empty where nobody comes in by one.

    Args:
        relay: keeps it.
        options: of the configuration.
        rules: likewise.

    Raises:
        StoreError: it could not be stored.
    """
    return await relay.moderation.state.secret(CONSOLE_SECRET) if has_links(options, rules) else b""


def has_links(options: WebOptions, rules: Rules) -> bool:
    """True if there is somebody who may come into the console by a link."""
    return options.enabled and (options.admin or bool(rules.admins))


def _console(
    relay: Relay, options: WebOptions, api: AdminApi, pages: Pages, vitals: VitalsSource, secret: bytes
) -> Console:
    login = Login(relay, has_links=has_links(options, relay.rules), secret=secret)
    return Console(api, pages, login, Sessions(options.session_seconds), partial(menu, vitals))


def menu(vitals: VitalsSource) -> Mapping[str, ConsolePage]:
    """All pages of the console by their paths, in the order of its menu.

    Args:
        vitals: of the whole relay.
    """
    # Loaded once somebody has logged in: a relay starts without them.
    from trio_relay.net.web import member_pages, moderation_pages, store_pages, why_pages
    from trio_relay.net.web.running_pages import running_pages

    others = (why_pages, moderation_pages, member_pages, store_pages)
    pages = (*running_pages(vitals), *(page for section in others for page in section.PAGES))
    return {page.path: page for page in pages}
