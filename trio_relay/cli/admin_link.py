"""The command `admin-link`: a way into the console for who is on the relay's machine, without a key."""

from __future__ import annotations

import time
from pathlib import Path

import click
import trio

from trio_relay.cli.leaving import CONFIG_ERROR, CRASHED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded_lasting
from trio_relay.config import Config
from trio_relay.configured import rules_of
from trio_relay.exporting import open_for_reading
from trio_relay.moderation.state import CONSOLE_SECRET
from trio_relay.net.admin.params import OPERATOR
from trio_relay.net.web.sessions import LINK_SECONDS, link_token
from trio_relay.nostr.nip19 import pubkey_of


@click.command("admin-link", short_help="Print a link into the console, for who has no key there.")
@config_option
@click.option("--key", help="Log in as this key, hex or npub, with what it may do; by default as who may do all.")
@click.pass_obj
def admin_link_command(group_path: Path | None, config_path: Path | None, key: str | None) -> None:
    """Print a link that lets its bearer into the console (/admin), once, within five minutes.

    For who has no browser extension with a key. The relay must have run with its console open: there are admins
    (policy.admins, relay.pubkey), or web.admin is true. Who can run this can read the store, and so its secret.
    """
    config = loaded_lasting(config_path or group_path)
    try:
        caller = OPERATOR if key is None else pubkey_of(key)
    except ValueError as error:
        leave(CONFIG_ERROR, f"--key: {error}")
    if not (config.web.enabled and (config.web.admin or rules_of(config).admins)):
        leave(CONFIG_ERROR, "the console is closed: set policy.admins, or web.admin = true")
    with exit_codes():
        secret = trio.run(_secret, config)
    if secret is None:
        leave(CRASHED, "the relay has not run with its console open yet")
    click.echo(f"{console_url(config)}/enter?token={link_token(secret, caller, int(time.time()))}")
    click.echo(f"good for once, within {LINK_SECONDS // 60} minutes", err=True)


async def _secret(config: Config) -> bytes | None:
    async with open_for_reading(config) as store:
        return (await store.get_metadata()).get(CONSOLE_SECRET)


def console_url(config: Config) -> str:
    """Where the console is, for a browser: at the relay's name, else where it listens first."""
    named = rules_of(config).relay_url or f"ws://{config.net.listen[0]}/"
    return f"http{named.removeprefix('ws').rstrip('/')}/admin"
