"""What an operator can ask of events, keys and readers in the configuration."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from trio_relay.nostr.access import PRIVATE_KINDS
from trio_relay.nostr.kinds import MAX_KIND

Pubkey = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Kind = Annotated[int, Meta(ge=0, le=MAX_KIND)]
TagName = Annotated[str, Meta(min_length=1, max_length=64)]
Word = Annotated[str, Meta(min_length=1)]


class KindRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What events of some kinds are held to, beside the limits of all events."""

    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)]
    max_content_length: Annotated[int, Meta(ge=0)] | None = None
    """Characters."""
    max_age: Annotated[int, Meta(ge=0)] | None = None
    """Seconds that `created_at` may lie back."""
    required_tags: tuple[TagName, ...] = ()
    """Names of tags that must be there, each with a value."""


class PolicyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may write and read what. The lists here cannot be changed at run time; NIP-86 keeps others beside them."""

    admins: Annotated[
        tuple[Pubkey, ...],
        Meta(description="Keys that manage the relay (NIP-86), beside relay.pubkey, and may always write."),
    ] = ()
    auth_to_read: Annotated[bool, Meta(description="Answer requests of authenticated clients only (NIP-42).")] = False
    auth_to_write: Annotated[bool, Meta(description="Take events from authenticated clients only (NIP-42).")] = False
    min_pow_difficulty: Annotated[
        int,
        Meta(
            ge=0,
            le=256,
            description="Work that an event must show and have committed to (NIP-13).",
            extra={"unit": "leading zero bits"},
        ),
    ] = 0
    allowed_pubkeys: Annotated[
        tuple[Pubkey, ...],
        Meta(
            description=(
                "If there are any here or on NIP-86's list, only these may write; wraps are judged by their p tags."
            )
        ),
    ] = ()
    denied_pubkeys: Annotated[tuple[Pubkey, ...], Meta(description="Keys that may not write.")] = ()
    allowed_kinds: Annotated[
        tuple[Kind, ...], Meta(description="If there are any here or on NIP-86's list, only these are taken.")
    ] = ()
    denied_kinds: Annotated[tuple[Kind, ...], Meta(description="Kinds that are not taken.")] = ()
    denied_words: Annotated[
        tuple[Word, ...], Meta(description="Texts that no content may hold, in whatever case.")
    ] = ()
    denied_addresses: Annotated[
        tuple[Word, ...],
        Meta(description="Addresses and networks that nobody may come from, such as 203.0.113.0/24."),
    ] = ()
    private_kinds: Annotated[
        tuple[Kind, ...],
        Meta(
            description=(
                "Kinds that are served to those concerned alone: the author and those named in p tags; of wraps (1059,"
                " 21059) the latter only."
            )
        ),
    ] = tuple(sorted(PRIVATE_KINDS))
    rules: Annotated[
        tuple[KindRule, ...],
        Meta(
            description=(
                "Tables [[policy.rules]], each with kinds and any of max_content_length (characters), max_age (seconds)"
                " and required_tags."
            )
        ),
    ] = ()
    and_tags: Annotated[
        bool, Meta(description="Take filters with &x, which ask for all of the values (NIP-91, a draft).")
    ] = False
    sweep_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description="How often what has expired (NIP-40) is removed; it is not served meanwhile.",
            extra={"unit": "seconds"},
        ),
    ] = 60.0
    trust_depth: Annotated[
        int,
        Meta(
            ge=0,
            le=4,
            description="If above 0, only the admins and keys within so many follows of them may write.",
            extra={"unit": "follows"},
        ),
    ] = 0
    trust_seconds: Annotated[
        float,
        Meta(ge=1, description="How often these keys are looked up anew.", extra={"unit": "seconds"}),
    ] = 3_600.0


class MemberOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Membership (NIP-43): who has joined with a claim, or was let in by an operator."""

    enabled: Annotated[
        bool, Meta(description="Take requests to join and to leave, and publish who is a member, signed by the relay.")
    ] = False
    claims: Annotated[
        tuple[Word, ...], Meta(description="Codes that let anybody in who names one; members can have others made.")
    ] = ()
    members_write: Annotated[bool, Meta(description="Only members and admins may write.")] = True
    members_read: Annotated[bool, Meta(description="Only members and admins may read; who they are, AUTH tells.")] = (
        False
    )
    max_members: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="How many there may be; more are told that they cannot join.",
            extra={"unit": "members"},
        ),
    ] = 10_000
    invite_seconds: Annotated[
        int,
        Meta(ge=60, description="How long a code that a member had made lets somebody in.", extra={"unit": "seconds"}),
    ] = 604_800
