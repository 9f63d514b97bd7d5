"""Settings of mirrors, the tables `[[mirror]]`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta


class MirrorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another relay that this one follows, feeds, or both."""

    url: Annotated[str, Meta(pattern="^wss?://", description="The other relay.", extra={"unit": "ws or wss URL"})]
    direction: Annotated[
        Literal["down", "up", "both"],
        Meta(description="down: take its events; up: give it ours; both: both."),
    ] = "down"
    filters: Annotated[
        tuple[dict[str, Any], ...],
        Meta(description="Which events: filters as in NIP-01, at least one of which matches. Empty: all."),
    ] = ()
    trust: Annotated[
        Literal["client", "trusted"],
        Meta(
            description=(
                "How what it brings is judged: client: by all rules, as if a client published it; trusted: only whether"
                " it is whole and not banned here, as with an import of a backup. Protected events (NIP-70) are never"
                " taken."
            )
        ),
    ] = "client"
    key_file: Annotated[
        str,
        Meta(
            description=(
                "A file with the secret key, hex or nsec, with which this relay authenticates there (NIP-42). Empty:"
                " it does not."
            ),
            extra={"unit": "path"},
        ),
    ] = ""
    catch_up_seconds: Annotated[
        int,
        Meta(
            ge=0,
            description=(
                "How far back both are compared at each connect (NIP-77, or REQs where the other has none), by"
                " created_at. 0: all there is."
            ),
            extra={"unit": "seconds"},
        ),
    ] = 0
    retry_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=86_400,
            description="Longest wait before the next try after a link has failed; tries begin after a second.",
            extra={"unit": "seconds"},
        ),
    ] = 300.0
    silence_seconds: Annotated[
        float,
        Meta(
            ge=5,
            le=86_400,
            description="A link on which nothing comes for so long, though asked for by a ping, has failed.",
            extra={"unit": "seconds"},
        ),
    ] = 60.0
