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
from trio_relay.policy.retention import Floors, RetentionRule
from trio_relay.policy.rules import Rules
from trio_relay.policy.sentences import span

RETENTION_SETTINGS: Final = (
    *("retention.max_age_seconds", "retention.max_per_key", "retention.max_events", "retention.max_bytes"),
    *("store.max_events", "store.max_bytes"),
)


def is_bounded(kind: int, rules: Rules) -> bool:
    """Return True if `check_retention` can refuse an event of this kind as the rules are now."""
    if kind in (DELETION, VANISH) or is_ephemeral(kind):
        return False
    floors = rules.retention.floors
    return bool(floors.by_standing) or any(
        rule.max_age_seconds or place in floors.by_rule or place in floors.by_key
        for place, rule in rules.retention.of_kind(kind)
    )


def check_retention(event: Event, identity: Identity, rules: Rules, now: int) -> Rejected | None:
    """Refuse what is older than its rule keeps it for, or than all that there is room for."""
    place = governing(event, rules, now)
    if place is not None:
        rule = rules.retention.rules[place]
        if rule.keeps_for_ever:
            return None
        if (refusal := _check_rule(event, place, rule, rules.retention.floors, now)) is not None:
            return refusal
    return _check_whole_store(event, rules, now)


def _check_rule(event: Event, place: int, rule: RetentionRule, floors: Floors, now: int) -> Rejected | None:
    whose = f"kind {event.kind}" if rule.authors == "all" else f"kind {event.kind} of this author"
    if rule.max_age_seconds and event.created_at < now - rule.max_age_seconds:
        return invalid(f"this relay keeps {whose} for {span(rule.max_age_seconds)} (retention.max_age_seconds)")
    if (full := floors.by_key.get(place)) and event.created_at < full.get(bytes.fromhex(event.pubkey), 0):
        kept = f"the newest {rule.max_per_key} events of each author"
        return invalid(f"this relay keeps {kept}, and this one is older (retention.max_per_key)")
    if event.created_at < floors.by_rule.get(place, 0):
        setting = "retention.max_events" if rule.max_events else "retention.max_bytes"
        return invalid(f"this relay has no more room for {whose} that is so old ({setting})")
    return None


def _check_whole_store(event: Event, rules: Rules, now: int) -> Rejected | None:
    floors = rules.retention.floors
    if not floors.by_standing or event.created_at >= floors.by_standing.get(standing_of(event, rules, now), 0):
        return None
    return invalid(f"this relay has no more room for what is so old ({floors.bound})")
