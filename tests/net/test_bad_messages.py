"""What is no message of NIP-01 gets an answer that says so, and the connection stays."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from tests.support.keys import ALICE
from tests.support.server import open_door, plain

pytestmark = pytest.mark.usefixtures("inline_threads")

NOTE = ALICE.event("note")


def with_changes(**changes: object) -> dict[str, Any]:
    """The note, spoilt."""
    return plain(NOTE) | changes


@pytest.mark.parametrize(
    ("text", "verb"),
    [
        ("", "NOTICE"),
        ("{", "NOTICE"),
        ("hello", "NOTICE"),
        ("{}", "NOTICE"),
        ("[]", "NOTICE"),
        ('["AUTH",1]', "NOTICE"),
        ('["REQ"]', "NOTICE"),
        ('["CLOSE",7]', "NOTICE"),
        ('["EVENT"]', "NOTICE"),
        ('["EVENT",{}]', "NOTICE"),
        ("[" * 5000, "NOTICE"),
        ('["REQ",""]', "CLOSED"),
        ('["REQ","a"]', "CLOSED"),
        ('["REQ","a",{"kinds":"1"}]', "CLOSED"),
    ],
)
async def test_garbage_is_answered_and_the_connection_stays(text: str, verb: str, autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client:
        await client.send_text(text)
        answer = await client.receive()
        assert answer[0] == verb
        assert answer[-1].startswith("invalid: ")
        assert await client.publish(NOTE) == ["OK", NOTE.id, True, ""]
        assert door.relay.statistics().unreadable == 1


@pytest.mark.parametrize(
    ("spoilt", "field"),
    [
        (with_changes(kind=True), "kind"),
        (with_changes(created_at=1.5), "created_at"),
        (with_changes(tags=[["a", 1]]), "tags"),
        (with_changes(pubkey="A" * 64), "pubkey"),
        (with_changes(sig="short"), "sig"),
        (with_changes(content=None), "content"),
    ],
)
async def test_an_event_of_the_wrong_shape_gets_ok_false_naming_the_field(
    spoilt: dict[str, Any], field: str, autojump_clock: MockClock
) -> None:
    async with open_door() as door, door.client() as client:
        await client.send("EVENT", spoilt)
        verb, event_id, accepted, reason = await client.receive()
        assert (verb, event_id, accepted) == ("OK", NOTE.id, False)
        assert reason.startswith(f"invalid: {field} ")
        assert await client.publish(NOTE) == ["OK", NOTE.id, True, ""]


async def test_an_unknown_filter_key_is_closed_as_unsupported(autojump_clock: MockClock) -> None:
    async with open_door() as door, door.client() as client:
        await client.send("REQ", "sub", {"colour": "red"})
        verb, sub_id, reason = await client.receive()
        assert (verb, sub_id) == ("CLOSED", "sub")
        assert reason.startswith("unsupported: ")
        await client.expect_silence()
