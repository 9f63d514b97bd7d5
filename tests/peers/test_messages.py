"""What this relay reads of another one, and what it says: read by the relay's own parser, which is the twin."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import strategies
from tests.support.keys import ALICE
from trio_relay import Event
from trio_relay.nostr import message
from trio_relay.peers import messages

ID = "a" * 64
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
verbs = st.sampled_from(["EVENT", "OK", "EOSE", "CLOSED", "COUNT", "AUTH", "NEG-MSG", "NEG-ERR", "NOTICE", "HELLO"])


@pytest.mark.parametrize(
    ("sent", "heard"),
    [
        (message.ok(ID, True), messages.Receipt(ID, True)),
        (message.ok(ID, False, "blocked: no"), messages.Receipt(ID, False, "blocked: no")),
        (message.eose("r1"), messages.StoredEnd("r1")),
        (message.eose("r1", message.FINISH), messages.StoredEnd("r1", True)),
        (message.eose("r1", message.MORE), messages.StoredEnd("r1", False)),
        (message.closed("r1", "error: no"), messages.Ending("r1", "error: no")),
        (message.counted("r1", 7), messages.Total("r1", 7)),
        (message.challenged("word"), messages.Challenge("word")),
        (message.sync_message("r1", b"\x61"), messages.SyncReply("r1", b"\x61")),
        (message.sync_error("r1", "blocked: many", 5), messages.SyncRefusal("r1", "blocked: many", 5)),
        (message.sync_error("r1", "closed: idle"), messages.SyncRefusal("r1", "closed: idle")),
        (message.notice("hello"), messages.Remark("hello")),
    ],
)
def test_what_a_relay_says_is_read(sent: bytes, heard: messages.RelayMessage) -> None:
    assert messages.read(sent.decode()) == heard


@given(strategies.events())
def test_an_event_is_read_as_it_is(event: Event) -> None:
    text = (message.event_head("r1") + msgspec.json.encode(event) + b"]").decode()
    assert messages.read(text) == messages.Delivery("r1", event, len(text))
    assert messages.read(" " + text) == messages.Delivery("r1", event, len(text) + 1)


@given(
    st.text() | st.builds(lambda verb, rest: msgspec.json.encode([verb, *rest]).decode(), verbs, st.lists(json_values))
)
def test_whatever_comes_is_read_as_something(text: str) -> None:
    assert isinstance(messages.read(text), messages.RelayMessage)


@pytest.mark.parametrize(
    "text",
    [
        '["COUNT","r1",{"count":true}]',
        '["COUNT","r1",{"count":-1}]',
        '["NEG-MSG","r1","xyz"]',
        '["OK","' + ID + '","yes",""]',
        '["EVENT","r1",{"id":"short","pubkey":"","created_at":0,"kind":1,"tags":[],"content":"","sig":""}]',
        '["EVENT","r1"]',
        "{}",
        "[" * 100_000,
        '["EVENT","r1",{"tags":[' + "[]," * 200_000 + "[]]}]",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_message_is_nonsense(text: str) -> None:
    assert isinstance(messages.read(text), messages.Nonsense)


def test_what_is_said_for_people_is_one_short_line() -> None:
    heard = messages.read(msgspec.json.encode(["NOTICE", "a\nb\x1b[31m" + "c" * 1_000]).decode())
    assert isinstance(heard, messages.Remark)
    assert len(heard.text) <= messages.MOST_REASON
    assert heard.text.startswith("a b [31mc")


def test_what_is_said_is_what_a_relay_reads() -> None:
    event, one = ALICE.event("hello"), {"kinds": [1], "since": 5}
    filter_ = message.parse(b'["REQ","x",{"kinds":[1],"since":5}]', max_filters=1)
    assert isinstance(filter_, message.Subscribe)
    said = [
        (messages.publish(event), message.Publish(event)),
        (messages.authenticate(event), message.Authenticate(event)),
        (messages.subscribe("r1", [one, one]), message.Subscribe("r1", filter_.filters * 2)),
        (messages.unsubscribe("r1"), message.Unsubscribe("r1")),
        (messages.count("r1", one), message.Count("r1", filter_.filters)),
        (messages.open_sync("r1", one, b"\x61"), message.OpenSync("r1", filter_.filters[0], b"\x61")),
        (messages.continue_sync("r1", b"\x61"), message.ContinueSync("r1", b"\x61")),
        (messages.close_sync("r1"), message.CloseSync("r1")),
    ]
    for text, read in said:
        assert message.parse(text.encode(), max_filters=2) == read
