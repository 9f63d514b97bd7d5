"""What this relay allows, beyond what the protocol demands: small checks, the first refusal wins.

Nothing here needs the signature, so everything here is asked before one is verified. The time of day is an argument.
"""

from __future__ import annotations

from trio_relay.nostr.errors import Rejected, invalid
from trio_relay.nostr.event import Event, id_matches
from trio_relay.nostr.limits import Limits


def check_event(event: Event, limits: Limits, now: int) -> Rejected | None:
    """None if the event may go on to have its signature verified, else why it is refused.

    Args:
        event: of the right shape.
        limits: what is allowed.
        now: seconds since 1970.
    """
    # Cheapest first; the id hashes the whole event.
    if event.created_at > now + limits.created_at_ahead:
        return invalid(f"created_at is more than {limits.created_at_ahead} seconds ahead (created_at_ahead)")
    if len(event.tags) > limits.max_event_tags:
        return invalid(f"more than {limits.max_event_tags} tags (max_event_tags)")
    if len(event.content) > limits.max_content_length:
        return invalid(f"content is longer than {limits.max_content_length} characters (max_content_length)")
    if not id_matches(event):
        return invalid("id is not the hash of the event")
    return None
