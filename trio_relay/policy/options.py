"""Settings of the tables `policy` and `members`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from trio_relay.nostr.access import PRIVATE_KINDS
from trio_relay.nostr.kinds import MAX_KIND

Pubkey = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Kind = Annotated[int, Meta(ge=0, le=MAX_KIND)]
TagName = Annotated[str, Meta(min_length=1, max_length=64)]
Word = Annotated[str, Meta(min_length=1)]
Code = Annotated[str, Meta(min_length=8)]


class KindRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule for events of some kinds, in addition to the limits for all events."""

    kinds: Annotated[tuple[Kind, ...], Meta(min_length=1)]
    max_content_length: Annotated[int, Meta(ge=0)] | None = None
    """Characters."""
    max_age: Annotated[int, Meta(ge=0)] | None = None
    """Seconds that `created_at` may be in the past."""
    required_tags: tuple[TagName, ...] = ()
    """Names of tags that must be there, each with a value."""


class PolicyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may write and read what; the lists of NIP-86 count in addition.

    A list may stand in a file: `denied_pubkeys = "file:denied.txt"`, one item a line, read again when it changes.
    """

    admins: Annotated[
        tuple[Pubkey, ...],
        Meta(
            description=(
                "Keys that may manage the relay (NIP-86) and always write, in addition to relay.pubkey; hex, npub or"
                " nprofile, as all keys here."
            )
        ),
    ] = ()
    challenge: Annotated[
        Literal["needed", "connect"],
        Meta(
            description=(
                "When clients are sent the challenge of NIP-42. needed: in front of the first answer that asks for"
                " authentication, and at once where nobody may read or write without; connect: at once, always."
            )
        ),
    ] = "needed"
    auth_to_read: Annotated[bool, Meta(description="Answer only authenticated clients (NIP-42).")] = False
    auth_to_write: Annotated[bool, Meta(description="Accept events only from authenticated clients (NIP-42).")] = False
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
                "If there are any here or on the list of NIP-86, only these keys may write; gift wraps are judged by"
                " their p tags."
            )
        ),
    ] = ()
    denied_pubkeys: Annotated[tuple[Pubkey, ...], Meta(description="Keys that may not write.")] = ()
    allowed_kinds: Annotated[
        tuple[Kind, ...],
        Meta(description="If there are any here or on the list of NIP-86, only these kinds are accepted."),
    ] = ()
    denied_kinds: Annotated[tuple[Kind, ...], Meta(description="Kinds that are not accepted.")] = ()
    denied_words: Annotated[
        tuple[Word, ...],
        Meta(
            description="Texts that no content may contain, in upper or lower case; those of NIP-86's list count, too."
        ),
    ] = ()
    denied_addresses: Annotated[
        tuple[Word, ...],
        Meta(description="Addresses and networks that may not connect, such as 203.0.113.0/24."),
    ] = ()
    files_seconds: Annotated[
        float,
        Meta(
            ge=0.1,
            description="How often files of lists are looked at for changes.",
            extra={"unit": "seconds"},
        ),
    ] = 5.0
    private_kinds: Annotated[
        tuple[Kind, ...],
        Meta(
            description=(
                "Kinds that are served to their authors and recipients (p tags) only; of gift wraps (1059, 21059) to"
                " the recipients only."
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
        bool, Meta(description="Accept filters with &x, which require all of their values (NIP-91, a draft).")
    ] = False
    sweep_seconds: Annotated[
        float,
        Meta(
            gt=0,
            description="How often expired events (NIP-40) are removed; they are not served in the meantime.",
            extra={"unit": "seconds"},
        ),
    ] = 60.0
    trust_depth: Annotated[
        int,
        Meta(
            ge=0,
            le=4,
            description="If above 0, only the admins and keys within this many follows of them may write.",
            extra={"unit": "follows"},
        ),
    ] = 0
    trust_seconds: Annotated[
        float,
        Meta(ge=1, description="How often the trusted keys are looked up again.", extra={"unit": "seconds"}),
    ] = 3_600.0


class MemberOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Membership (NIP-43): keys that joined with a claim, or that an operator added."""

    enabled: Annotated[
        bool,
        Meta(
            description="Accept requests to join and to leave, and publish the members in events signed by the relay."
        ),
    ] = False
    claims: Annotated[
        tuple[Code, ...],
        Meta(
            description=(
                "Codes with which anybody can join, each of 8 characters or more: best 16 random ones, as"
                " `openssl rand -hex 8` makes them; members can have further codes made."
            )
        ),
    ] = ()
    members_write: Annotated[bool, Meta(description="Only members and admins may write.")] = True
    members_read: Annotated[
        bool, Meta(description="Only members and admins may read; they have to authenticate (NIP-42).")
    ] = False
    receive_kinds: Annotated[
        tuple[Kind, ...],
        Meta(
            description=(
                "Kinds that anybody may write where they name a member in a p tag, such as 1 for replies and 9735 for"
                " zap receipts."
            )
        ),
    ] = ()
    max_members: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Most members; further requests to join are refused.",
            extra={"unit": "members"},
        ),
    ] = 10_000
    invite_seconds: Annotated[
        int,
        Meta(ge=60, description="How long a code that a member had made is valid.", extra={"unit": "seconds"}),
    ] = 604_800
