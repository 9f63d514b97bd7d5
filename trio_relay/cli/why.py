"""The command `why`: what would come of a request or an event, and how the store would answer it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import click
import msgspec
import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trio_relay.cli.leaving import CONFIG_ERROR, CRASHED, exit_codes, leave
from trio_relay.cli.loading import config_option, loaded_lasting
from trio_relay.config import Config
from trio_relay.configured import rules_of
from trio_relay.exporting import open_for_reading
from trio_relay.moderation.state import recall_lists
from trio_relay.moderation.web_of_trust import trusted_by
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.event import Event
from trio_relay.nostr.nip19 import pubkey_of
from trio_relay.nostr.schnorr import open_backend
from trio_relay.pipeline.explaining import EventExplained, Explaining, FilterExplained, RequestExplained
from trio_relay.policy.explained import RuleVerdict

_OF_EVENTS: Final = frozenset({"kind", "pubkey", "sig", "content"})
Question: TypeAlias = list[Any] | dict[str, Any]
"""Filters, or an event, as they were decoded."""
_LONGEST: Final = 200
"""Characters that are shown of a filter."""


@click.command("why", short_help="Explain how a request or an event would be answered.")
@config_option
@click.argument("question")
@click.option("--key", help="As if this key had authenticated, hex or npub; by default as a stranger.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object instead of tables.")
@click.pass_obj
def why_command(
    group_path: Path | None, config_path: Path | None, question: str, key: str | None, as_json: bool
) -> None:
    """Explain what would come of a request or an event, and change nothing.

    QUESTION is JSON: a filter, a list of filters, a REQ or a COUNT, an event or an EVENT; - reads it from the standard
    input. Told are the verdict with the setting that it comes from, and of each filter which index is read, how many
    rows, how long that takes, what is found, and how much more the reader may not read. The relay may run meanwhile.
    """
    config = loaded_lasting(config_path or group_path)
    asked = _read(sys.stdin.read() if question == "-" else question)
    try:
        pubkey = None if key is None else pubkey_of(key)
    except ValueError as error:
        leave(CONFIG_ERROR, f"--key: {error}")
    with exit_codes():
        try:
            explained = trio.run(_explain, config, asked, pubkey)
        except Rejected as refusal:
            leave(CRASHED, str(refusal))
    if as_json:
        click.echo(msgspec.json.encode(explained))
    else:
        console = Console()
        for part in _shown(explained):
            console.print(part)


def _read(text: str) -> Question:
    """Read filters as a list, or an event."""
    try:
        question: Question | None = _question(json.loads(text))
    except (ValueError, RecursionError):
        question = None
    if question is None:
        leave(CONFIG_ERROR, "the question is neither a filter, a list of filters, a REQ nor an event in JSON")
    return question


def _question(value: Any) -> Any:
    """What a decoded value asks about, as a `Question`; None if it is none."""
    match value:
        case {}:
            return value if value.keys() & _OF_EVENTS else [value]
        case ["EVENT", {} as event]:
            return event
        case ["REQ" | "COUNT", str(), _, *_]:
            return value[2:]
        case [{}, *_] if all(isinstance(one, dict) for one in value):
            return value
    return None


async def _explain(config: Config, asked: Question, key: str | None) -> RequestExplained | EventExplained:
    rules, backend = rules_of(config), open_backend(config.pipeline.signatures)

    async def verify(event: Event) -> bool:
        return await trio.to_thread.run_sync(lambda: backend.verify([event])[0])

    async def wanting(_event: Event) -> None:
        """The relay alone knows."""
        await trio.lowlevel.checkpoint()

    async with open_for_reading(config) as store:
        await recall_lists(store, rules)
        if rules.options.trust_depth:
            rules.trusted = await trusted_by(rules, store)
        explaining = Explaining(rules, store, time.time, config.pipeline.query_seconds, verify)
        if isinstance(asked, list):
            return await explaining.request(asked, key)
        return await explaining.event(asked, wanting, key)


def _shown(explained: RequestExplained | EventExplained) -> Iterator[Table | Text]:
    """Yield what a terminal shows; what others wrote is text, not markup."""
    yield _verdict(explained.verdict)
    if isinstance(explained, EventExplained):
        yield from _of_event(explained)
    else:
        for number, one in enumerate(explained.filters, 1):
            yield from _of_filter(number, one)


def _verdict(verdict: RuleVerdict) -> Text:
    said = Text("accepted", "green") if verdict.accepted else Text("refused", "red")
    if verdict.reason:
        said += Text(f": {_line(verdict.reason)}")
    return said + Text(f" [{verdict.setting}]" if verdict.setting else "", "yellow")


def _of_filter(number: int, one: FilterExplained) -> Iterator[Table | Text]:
    yield Text(f"\nfilter {number}: {_line(msgspec.json.encode(one.filter).decode())}")
    plan = Table(box=None, padding=(0, 2, 0, 0), header_style="")
    plan.add_column("index")
    plan.add_column("what is done")
    for step in one.plan:
        plan.add_row(step.index or "", Text(step.detail))
    yield plan if one.plan else Text("nothing has to be looked for")
    found = "too long for an answer" if one.found is None else f"{one.found} found"
    looked_at = "" if one.looked_at is None else f", {one.looked_at} looked at"
    hidden = "it took too long to count what is hidden" if one.hidden is None else f"{one.hidden} more are hidden"
    yield Text(f"{found}{looked_at}, {one.seconds * 1_000:.1f} ms; {hidden} from this reader")


def _of_event(one: EventExplained) -> Iterator[Table | Text]:
    checks = Table(box=None, padding=(0, 2, 0, 0), header_style="")
    for title in ("check", "", "by"):
        checks.add_column(title)
    for check in one.checks:
        said = Text("passed", "green") if check.accepted else Text(_line(check.reason), "red")
        checks.add_row(check.check, said, Text("" if check.accepted else check.setting))
    if one.checks:
        yield checks
        yield Text(f"store: {one.store}" + (f", by {one.by}" if one.by else ""))


def _line(text: str) -> str:
    """One line that neither moves the cursor nor controls the terminal."""
    shown = "".join(one if one.isprintable() else " " for one in text)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
