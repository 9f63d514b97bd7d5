"""The gate of retention: what would be forgotten at once is refused, so that no sync brings it back. Pure.

Requests to delete and to vanish are let in however old they are: they have to be carried out, kept or not.
"""

from __future__ import annotations

from typing import Final

from trio_relay.nostr.errors import Rejected, invalid
from trio_relay.nostr.event import Event
from trio_relay.nostr.kinds import DELETION, VANISH, is_ephemeral
from trio_relay.policy.forgetting import governing, standing_of
from trio_relay.policy.identity import Identity
from trio_relay.policy.retention import RetentionRule
from trio_relay.policy.rules import Rules
from trio_relay.policy.sentences import span

RETENTION_SETTINGS: Final = (
    *("retention.max_age_seconds", "retention.max_events", "retention.max_bytes"),
    *("store.max_events", "store.max_bytes"),
)


def is_bounded(kind: int, rules: Rules) -> bool:
    """Return True if `check_retention` can refuse an event of this kind as the rules are now."""
    if kind in (DELETION, VANISH) or is_ephemeral(kind):
        return False
    retention = rules.retention
    return bool(retention.floors.by_standing) or any(
        rule.max_age_seconds or place in retention.floors.by_rule for place, rule in retention.of_kind(kind)
    )


def check_retention(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    """Refuse what is older than its rule keeps it for, or than all that there is room for."""
    place = governing(event, rules, now)
    if place is not None:
        rule = rules.retention.rules[place]
        if rule.keeps_for_ever:
            return None
        if (refusal := _check_rule(event, rule, rules.retention.floors.by_rule.get(place, 0), now)) is not None:
            return refusal
    return _check_whole_store(event, rules, now)


def _check_rule(event: Event, rule: RetentionRule, floor: int, now: int) -> Rejected | None:
    whose = f"kind {event.kind}" if rule.authors == "all" else f"kind {event.kind} of this author"
    if rule.max_age_seconds and event.created_at < now - rule.max_age_seconds:
        return invalid(f"this relay keeps {whose} for {span(rule.max_age_seconds)} (retention.max_age_seconds)")
    if event.created_at < floor:
        setting = "retention.max_events" if rule.max_events else "retention.max_bytes"
        return invalid(f"this relay has no more room for {whose} that is so old ({setting})")
    return None


def _check_whole_store(event: Event, rules: Rules, now: int) -> Rejected | None:
    floors = rules.retention.floors
    if not floors.by_standing or event.created_at >= floors.by_standing.get(standing_of(event, rules, now), 0):
        return None
    return invalid(f"this relay has no more room for what is so old ({floors.bound})")
