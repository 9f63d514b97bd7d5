"""Many events in, and all of them out again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.support.server import Talker
from trio_relay import Event

_PAGE: Final = 300


async def publish_all(client: Talker, events: Sequence[Event]) -> dict[str, tuple[bool, str]]:
    """Send events in one go, and give each one's OK."""
    for event in events:
        await client.send("EVENT", event)
    answers: dict[str, tuple[bool, str]] = {}
    for _ in events:
        verb, event_id, accepted, reason = await client.receive()
        assert verb == "OK"
        answers[event_id] = accepted, reason
    return answers


async def everything(client: Talker) -> list[dict[str, Any]]:
    """All that is stored, in the order of NIP-01, read page by page, each from the time at which the one before ended.

    What was acknowledged a moment ago may still come live, in between: it has its place in the order like the others.
    """
    found: dict[str, dict[str, Any]] = {}
    page = await client.ask("page", {"limit": _PAGE})
    while any(event["id"] not in found for event in page):
        found |= {event["id"]: event for event in page}
        page = await client.ask("page", {"limit": _PAGE, "until": page[-1]["created_at"]})
    return sorted(found.values(), key=lambda event: (-event["created_at"], event["id"]))
