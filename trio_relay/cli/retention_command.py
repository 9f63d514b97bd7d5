"""The command `retention`: what the rules of retention let go, in a table, and a round of it at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import trio
from rich.console import Console
from rich.table import Table

from trio_relay import configured
from trio_relay.cli.control_line import NoLine, call_relay
from trio_relay.cli.leaving import CONFIG_ERROR, CRASHED, STORE_REFUSED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded_lasting
from trio_relay.cli.operating import store_errors
from trio_relay.config import Config
from trio_relay.exporting import Readable, open_for_reading
from trio_relay.moderation.state import SECRET_NAME, recall_lists
from trio_relay.moderation.web_of_trust import trusted_by
from trio_relay.net.admin.calls import CallRefused
from trio_relay.nostr.signer import Signer
from trio_relay.pipeline.retention_rounds import Forget, Leisure, RuleFindings, findings_of, go_through
from trio_relay.store.base import StoreInUse


@click.command("retention", short_help="Forget at once what the rules of retention let go.")
@config_option
@click.option("--dry-run", is_flag=True, help="Say what would go, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object instead of a table.")
@click.pass_obj
def retention_command(group_path: Path | None, config_path: Path | None, dry_run: bool, as_json: bool) -> None:
    """Forget at once what the rules of retention let go, and say how much that is, rule by rule.

    Rules are the tables [[retention]] and the bounds store.max_events and store.max_bytes. With --dry-run the store is
    gone through and nothing is removed, also while the relay runs. Without it the running relay makes a round, by its
    control line; where none runs, the store is opened.
    """
    config = loaded_lasting(config_path or group_path)
    if not configured.rules_of(config).retention.forgets:
        leave(CONFIG_ERROR, "no rule lets anything go: there are no bounds in [[retention]], nor of the whole store")
    with exit_codes(), store_errors():
        found = trio.run(_would_go, config) if dry_run else _forgotten(config)
    if as_json:
        sums = {"events": sum(one.events for one in found), "bytes": sum(one.bytes for one in found)}
        click.echo(msgspec.json.encode({"dry_run": dry_run, **sums, "rules": found}))
    else:
        Console().print(_table(found, "would go" if dry_run else "forgotten"))


async def _would_go(config: Config) -> list[RuleFindings]:
    async with open_for_reading(config) as store:
        return await _gone_through(config, store, None)


def _forgotten(config: Config) -> list[RuleFindings]:
    """Have the running relay make a round, or make one here."""
    try:
        return msgspec.convert(call_relay(config, "runretention", []), list[RuleFindings])
    except CallRefused as refused:
        leave(CRASHED, str(refused))
    except NoLine as no_line:
        try:
            return trio.run(_forget_here, config)
        except StoreInUse as in_use:
            leave(STORE_REFUSED, f"{in_use}, and {no_line}")


async def _forget_here(config: Config) -> list[RuleFindings]:
    async with open_for_reading(config):
        pass  # in a wrong folder there is no store, and none is to be made that has nothing to forget
    async with configured.open_store(config) as store:
        return await _gone_through(config, store, store.forget)


async def _gone_through(config: Config, store: Readable, forget: Forget | None) -> list[RuleFindings]:
    """Do at once, and without a rest, what the relay's rounds do."""
    rules = configured.rules_of(config)
    metadata = await recall_lists(store, rules)
    if rules.has_membership and (secret := metadata.get(SECRET_NAME)) is not None:
        rules.signer = Signer(secret).pubkey
    if rules.options.trust_depth:
        rules.trusted = await trusted_by(rules, store)
    walk = await go_through(store, rules, int(time.time()), Leisure(0), forget, weighs=True)
    return findings_of(walk, rules)


def _table(found: Sequence[RuleFindings], what: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="")
    table.add_column("rule")
    for title in (f"events {what}", "bytes"):
        table.add_column(title, justify="right")
    for title in ("oldest", "newest"):
        table.add_column(title)
    for one in found:
        table.add_row(one.rule, f"{one.events:,}", f"{one.bytes:,}", _day(one.oldest), _day(one.newest))
    events, size = sum(one.events for one in found), sum(one.bytes for one in found)
    table.add_row("all", f"{events:,}", f"{size:,}", *_ends(found))
    return table


def _ends(found: Sequence[RuleFindings]) -> tuple[str, str]:
    if not found:
        return "", ""
    return _day(min(one.oldest for one in found)), _day(max(one.newest for one in found))


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
