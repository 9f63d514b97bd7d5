"""The NIP-11 document, made from the limits that are enforced and from nothing else."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from trio_relay.nostr.limits import MAX_SUB_ID_LENGTH, Limits
from trio_relay.version import __version__

SUPPORTED_NIPS: Final = (1, 9, 11, 45)
SEARCH_NIP: Final = 50
"""Supported too where search is on."""
SOFTWARE: Final = "https://github.com/trio-relay/trio-relay"

Hex = Annotated[str, Meta(pattern="^([0-9a-f]{64})?$", description="64 lowercase hex characters.")]


class RelayInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who this relay says it is (NIP-11, "Field descriptions"); an empty text leaves the field out."""

    url: Annotated[
        str,
        Meta(
            pattern="^wss?://[^/?#]+(/[^?#]*)?$",
            description="Public address of the relay. Behind a proxy this is what clients type, not what is bound.",
        ),
    ] = "ws://127.0.0.1:7777/"
    name: Annotated[
        str, Meta(max_length=29, description="Name shown to users; NIP-11 asks for less than 30 characters.")
    ] = "trio-relay"
    description: Annotated[str, Meta(description="What this relay is for.")] = "A Nostr relay on Trio"
    banner: Annotated[str, Meta(description="URL of a wide picture.")] = ""
    icon: Annotated[str, Meta(description="URL of a square picture.")] = ""
    pubkey: Annotated[Hex, Meta(description="Key of the operator, 64 lowercase hex characters.")] = ""
    contact: Annotated[str, Meta(description="How to reach the operator, a URI such as mailto:.")] = ""
    terms_of_service: Annotated[str, Meta(description="URL of the terms of service.")] = ""


def document(info: RelayInfo, limits: Limits, has_search: bool = True) -> bytes:
    """The NIP-11 document as JSON.

    Args:
        info: who this relay says it is.
        limits: what it enforces.
        has_search: whether it answers filters that search for words.
    """
    named = {name: value for name, value in msgspec.to_builtins(info).items() if value and name != "url"}
    return msgspec.json.encode(
        named
        | {
            "supported_nips": sorted({*SUPPORTED_NIPS, SEARCH_NIP} if has_search else SUPPORTED_NIPS),
            "software": SOFTWARE,
            "version": __version__,
            "limitation": {
                "max_message_length": limits.max_message_length,
                "max_subscriptions": limits.max_subscriptions,
                "max_limit": limits.max_limit,
                "max_subid_length": MAX_SUB_ID_LENGTH,
                "max_event_tags": limits.max_event_tags,
                "max_content_length": limits.max_content_length,
                "min_pow_difficulty": 0,
                "auth_required": False,
                "payment_required": False,
                "restricted_writes": False,
                "created_at_upper_limit": limits.created_at_ahead,
                "default_limit": limits.default_limit,
            },
        }
    )
