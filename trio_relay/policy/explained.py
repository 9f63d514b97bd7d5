"""Verdicts with the settings that they come from, for operators who ask why; the checks are the same as for clients.

Pure. Nothing is counted and nothing is charged: what depends on how much somebody has done already (`rates`, the
attempts to join) plays no part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from trio_relay.nostr.errors import Prefix, Rejected
from trio_relay.nostr.event import Event
from trio_relay.nostr.filter import Filter
from trio_relay.nostr.limits import Limits
from trio_relay.policy.event_checks import CHECKS, check_id, check_items, check_sizes
from trio_relay.policy.filter_checks import FILTER_CHECKS
from trio_relay.policy.identity import Identity
from trio_relay.policy.lists import ListName
from trio_relay.policy.options import PolicyOptions
from trio_relay.policy.rules import Rules

LISTED_BY: Final = {
    "listbannedpubkeys": ListName.BANNED_PUBKEYS,
    "listallowedpubkeys": ListName.ALLOWED_PUBKEYS,
    "listbannedevents": ListName.BANNED_EVENTS,
    "listallowedkinds": ListName.ALLOWED_KINDS,
    "listdisallowedkinds": ListName.DISALLOWED_KINDS,
}
"""Methods of NIP-86 that stand where a setting would: they tell what operators have put on a list."""
SIZES: Final = ("limits.created_at_ahead", "limits.max_event_tags", "limits.max_content_length")
ITEMS: Final = ("limits.max_tag_value_length",)


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What the rules say."""

    accepted: bool
    reason: str
    """Empty where it is accepted; else as a client is told."""
    setting: str
    """What decides it, such as `policy.denied_kinds` or a list's method, with commas between; empty if nothing does."""


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """What one check says."""

    check: str
    """What it is called."""
    accepted: bool
    reason: str
    setting: str
    """All that it depends on where it accepts; else, as for `RuleVerdict`, what has decided it."""


ACCEPTED: Final = RuleVerdict(True, "", "")


def explain_filters(filters: Sequence[Filter], identity: Identity, rules: Rules, now: int) -> RuleVerdict:
    """Say what `check_filters` would, and why."""
    for check, settings in FILTER_CHECKS:
        if (refusal := check(filters, identity, rules, now)) is not None:
            return refused(str(refusal), settings)
    return ACCEPTED


def explain_event(event: Event, identity: Identity, rules: Rules, now: int, size: int) -> list[CheckVerdict]:
    """Say what each check of `check_event` says, in their order, whatever those before it say.

    Args:
        event: of the right shape.
        identity: who sends it.
        rules: what is allowed.
        now: seconds since 1970.
        size: bytes of the message that it came in.
    """

    def told(name: str, refusal: Rejected | None, settings: tuple[str, ...] = ()) -> CheckVerdict:
        if refusal is None:
            return CheckVerdict(name, True, "", ", ".join(settings))
        verdict = refused(str(refusal), _deciding(refusal, settings, rules))
        return CheckVerdict(name, False, verdict.reason, verdict.setting)

    return [
        told("sizes", check_sizes(event, rules.limits, now), SIZES),
        *(
            told(name, check(event, identity, rules, now) if is_needed(event.kind, rules) else None, settings)
            for check, is_needed, name, settings in CHECKS
        ),
        told("items of tags", check_items(event, rules.limits, size), ITEMS),
        told("id", check_id(event)),
    ]


def refused(reason: str, settings: Sequence[str] = ()) -> RuleVerdict:
    """Make the verdict of a refusal: by the setting that it names, or else by these."""
    return RuleVerdict(False, reason, named_setting(reason) or ", ".join(settings))


_IN_BRACKETS: Final = re.compile(r"\(([a-z_]+(?:\.[a-z_]+)?)\)")


def named_setting(reason: str) -> str:
    """Return the setting that the text of a refusal names in brackets, with its table; empty if it names none."""
    for name in _IN_BRACKETS.findall(reason):
        if name in Limits.__struct_fields__:
            return f"limits.{name}"
        if "." in name:
            return str(name)
    return ""


def _deciding(refusal: Rejected, settings: Sequence[str], rules: Rules) -> Sequence[str]:
    """Keep those settings that are not as they are by default; what a NIP itself forbids is decided by none."""
    if refusal.prefix is Prefix.INVALID and len(settings) > 1:
        return ()
    return [setting for setting in settings if _says_something(setting, rules)]


def _says_something(setting: str, rules: Rules) -> bool:
    if (listed := LISTED_BY.get(setting)) is not None:
        return rules.lists.holds_any(listed)
    table, _, name = setting.partition(".")
    if table == "members":  # what they may is the default where there are any
        return rules.members.enabled
    options, default = (rules.options, PolicyOptions()) if table == "policy" else (rules.limits, Limits())
    return bool(getattr(options, name, None) != getattr(default, name, None))
