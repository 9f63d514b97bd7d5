"""The NIP-11 document, made from the limits that are enforced, so that it is true."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from trio_relay.nostr.limits import MAX_SUB_ID_LENGTH, Limits
from trio_relay.version import __version__

SUPPORTED_NIPS: Final = (1, 2, 9, 11, 40, 45, 51, 65)
"""The NIPs that work however the relay is configured; `Capabilities` names the others."""
NIP_TITLES: Final = {
    1: "Basic protocol",
    2: "Lists of follows",
    4: "Encrypted messages, kept to those concerned",
    9: "Requests to delete",
    11: "What the relay says of itself",
    13: "Proof of work",
    17: "Private messages, kept to those concerned",
    40: "Events that expire",
    42: "Authentication of clients",
    43: "Members",
    45: "Counting",
    50: "Search",
    51: "Lists",
    59: "Gift wraps, kept to those concerned",
    62: "Requests to vanish",
    65: "Lists of relays",
    67: "Whether an answer was whole",
    70: "Protected events",
    77: "Syncing sets of events",
    86: "Management",
    91: "Filters that demand all of several tags",
    98: "Signed HTTP requests",
}
"""By number; what each is about, in words."""
SOFTWARE: Final = "https://github.com/trio-relay/trio-relay"

_URL: Final = "wss?://[^/?#]+(/[^?#]*)?"
Hex = Annotated[str, Meta(pattern="^([0-9a-f]{64})?$", description="64 lowercase hex characters.")]


class RelayInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the relay describes itself (NIP-11, "Field descriptions"); an empty text leaves the field out."""

    url: Annotated[
        str,
        Meta(
            pattern=f"^({_URL})?$",
            description=(
                "Public address of the relay, as clients type it; behind a proxy that is the proxy's. Its path is"
                " served, and / too, since the proxy may have taken the path off. NIPs 42, 62, 70 and 86 need it: if it"
                " is empty they are off, unless the relay listens on loopback alone."
            ),
        ),
    ] = ""
    also_known_as: Annotated[
        tuple[Annotated[str, Meta(pattern=f"^{_URL}$")], ...],
        Meta(
            description=(
                "Other addresses of the same relay, such as an onion service or a name inside a network; for"
                " authentication (NIP-42, NIP-98) and requests to vanish (NIP-62) each is as good as url."
            ),
        ),
    ] = ()
    name: Annotated[
        str, Meta(max_length=29, description="Name that clients show; NIP-11 asks for less than 30 characters.")
    ] = "trio-relay"
    description: Annotated[str, Meta(description="What this relay is for.")] = "A Nostr relay on Trio"
    banner: Annotated[str, Meta(description="URL of a wide picture.")] = ""
    icon: Annotated[str, Meta(description="URL of a square picture.")] = ""
    pubkey: Annotated[Hex, Meta(description="Key of the operator, as hex, npub or nprofile.")] = ""
    contact: Annotated[str, Meta(description="How to reach the operator, a URI such as mailto:.")] = ""
    terms_of_service: Annotated[str, Meta(description="URL of the terms of service.")] = ""
    eose_hints: Annotated[
        bool,
        Meta(
            description=(
                "End each EOSE with whether the answer was whole (NIP-67). Some client libraries do not know an EOSE of"
                " three elements and wait for their time-out."
            )
        ),
    ] = False


_SHOWN: Final = ("name", "description", "banner", "icon", "pubkey", "contact", "terms_of_service")
"""What of it the document shows."""


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of the document that depend on more than names and limits.

    Attributes:
        nips: numbers that are supported besides `SUPPORTED_NIPS`.
        self: pubkey that the relay signs with; empty if it signs nothing.
        min_pow_difficulty: bits that events must show (NIP-13).
        auth_required: True if reading needs AUTH (NIP-42).
        restricted_writes: True if writing has a condition: certain keys, certain kinds, or proof of work.
        rates: what anybody may do in a time, by the name of the limit; NIP-11 has no field for it, so it is our own.
    """

    nips: tuple[int, ...] = ()
    self: str = ""
    min_pow_difficulty: int = 0
    auth_required: bool = False
    restricted_writes: bool = False
    rates: dict[str, str] = {}


def document(info: RelayInfo, limits: Limits, standing: Capabilities | None = None) -> bytes:
    """Make the NIP-11 document as JSON.

    Args:
        info: how the relay describes itself.
        limits: what it enforces.
        standing: what else it supports and asks for.
    """
    standing = standing or Capabilities()
    named = {name: value for name in _SHOWN if (value := getattr(info, name))}
    if standing.self:
        named["self"] = standing.self
    limitation: dict[str, object] = {
        "max_message_length": limits.max_message_length,
        "max_subscriptions": limits.max_subscriptions,
        "max_limit": limits.max_limit,
        "max_subid_length": MAX_SUB_ID_LENGTH,
        "max_event_tags": limits.max_event_tags,
        "max_content_length": min(limits.max_content_length, limits.max_message_length),  # a character has a byte
        "min_pow_difficulty": standing.min_pow_difficulty,
        "auth_required": standing.auth_required,
        "payment_required": False,
        "restricted_writes": standing.restricted_writes,
        "created_at_upper_limit": limits.created_at_ahead,
        "default_limit": limits.default_limit,
    }
    if standing.rates:
        limitation["rates"] = standing.rates
    if limits.created_at_behind:
        limitation["created_at_lower_limit"] = limits.created_at_behind
    enforced = {
        "supported_nips": sorted({*SUPPORTED_NIPS, *standing.nips}),
        "software": SOFTWARE,
        "version": __version__,
        "limitation": limitation,
    }
    return msgspec.json.encode(named | enforced)
