"""Capabilities for the NIP-11 document: what works as the relay is configured now."""

from __future__ import annotations

from msgspec.structs import replace

from trio_relay.nostr.kinds import ENCRYPTED_MESSAGE, GIFT_WRAP, VANISH
from trio_relay.nostr.relay_info import Capabilities, RelayInfo
from trio_relay.policy.lists import ListName
from trio_relay.policy.rate_limits import published
from trio_relay.policy.rules import Rules


def capabilities_of(rules: Rules) -> Capabilities:
    """Return what the relay supports and asks for."""
    options, members = rules.options, rules.members
    keeps_to_members = members.enabled and members.members_read
    takes_few_kinds = bool(options.allowed_kinds) or rules.lists.holds_any(ListName.ALLOWED_KINDS)
    return Capabilities(
        nips=tuple(nip for nip, works in optional_nips(rules).items() if works),
        self=rules.signer,
        min_pow_difficulty=options.min_pow_difficulty,
        auth_required=options.auth_to_read or keeps_to_members,
        restricted_writes=rules.is_closed or options.auth_to_write or options.min_pow_difficulty > 0 or takes_few_kinds,
        rates=published(rules.rates),
    )


def relay_info_of(rules: Rules) -> RelayInfo:
    """Return how the relay describes itself, with changes made at run time (NIP-86, `changerelayname` and others)."""
    changed = rules.lists.entries(ListName.IDENTITY, 0)
    return replace(rules.info, **{field: entry.reason for field, entry in changed.items()})


def optional_nips(rules: Rules) -> dict[int, bool]:
    """Return which optional NIPs work, by number; those that always work are `relay_info.SUPPORTED_NIPS`."""
    auth, private = rules.has_auth, rules.has_auth and bool(rules.private_kinds)
    denies_vanishing = VANISH in rules.options.denied_kinds or rules.lists.get(
        ListName.DISALLOWED_KINDS, str(VANISH), 0
    )
    return {
        4: private and ENCRYPTED_MESSAGE in rules.private_kinds,
        13: rules.options.min_pow_difficulty > 0,
        17: private and GIFT_WRAP in rules.private_kinds,
        42: auth,
        43: auth and rules.members.enabled,
        50: rules.has_search,
        59: private and GIFT_WRAP in rules.private_kinds,
        62: auth and not denies_vanishing,
        67: rules.info.eose_hints,
        70: auth,
        77: rules.has_sync,
        86: rules.is_managed,
        91: rules.options.and_tags,
        98: rules.is_managed,
    }
