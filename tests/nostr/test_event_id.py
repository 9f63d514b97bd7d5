"""The id of an event is the hash of its canonical array, in either of the two forms that are in use."""

from __future__ import annotations

import json
from hashlib import sha256

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.keys import ALICE, NOW
from tests.support.strategies import unicode_texts
from trio_relay.nostr.event import Event, compute_id, id_matches

PUBKEY = ALICE.pubkey
ESCAPES = {"\n": r"\n", '"': r"\"", "\\": r"\\", "\r": r"\r", "\t": r"\t", "\b": r"\b", "\f": r"\f"}
"""NIP-01's list, which is the whole of it."""
OTHER_CONTROLS = [chr(code) for code in range(0x20) if chr(code) not in ESCAPES]

tag_lists = st.lists(st.lists(unicode_texts, max_size=3), max_size=3)


def event_hashed_as(content_in_json: str, content: str) -> Event:
    """An event whose one tag and whose content hold the same text, its id made from this spelling of it."""
    array = f'[0,"{PUBKEY}",{NOW},1,[["t","{content_in_json}"]],"{content_in_json}"]'
    return Event(sha256(array.encode()).hexdigest(), PUBKEY, NOW, 1, [["t", content]], content, "5" * 128)


def verbatim_id(tags: list[list[str]], content: str) -> str:
    """NIP-01 to the letter, character by character."""

    def spelt(text: str) -> str:
        return '"' + "".join(ESCAPES.get(character, character) for character in text) + '"'

    listed = ",".join("[" + ",".join(spelt(item) for item in tag) + "]" for tag in tags)
    return sha256(f'[0,"{PUBKEY}",{NOW},1,[{listed}],{spelt(content)}]'.encode()).hexdigest()


def encoder_id(tags: list[list[str]], content: str, *, ensure_ascii: bool = False) -> str:
    """What clients built on a JSON encoder hash."""
    array = [0, PUBKEY, NOW, 1, tags, content]
    text = json.dumps(array, ensure_ascii=ensure_ascii, separators=(",", ":"))
    return sha256(text.encode()).hexdigest()


def test_the_id_of_a_known_event_is_its_known_hash() -> None:
    """Bytes written out by hand, so that no serializer judges itself."""
    array = b'[0,"' + b"ab" * 32 + b'",1700000000,30023,[["d","a:b"],[],["t"]],"say \\"hi\\"\\n\xc3\xa9"]'
    event_id = compute_id("ab" * 32, 1_700_000_000, 30_023, [["d", "a:b"], [], ["t"]], 'say "hi"\né')
    assert event_id == sha256(array).hexdigest()
    assert event_id == "c4df2a8d8bc62985ab7b12815dbb7d36a3a3b892e134c7d4bf2c3329c5dc610a"


@pytest.mark.parametrize(
    ("content", "in_json"),
    [
        *ESCAPES.items(),
        *((control, control) for control in OTHER_CONTROLS),
        ("\x7f", "\x7f"),
        ("\u2028", "\u2028"),
        ("\ufffe\uffff", "\ufffe\uffff"),
        ("é", "é"),
        ("😀", "😀"),
        ("/", "/"),
        ("", ""),
        (r"\u000b", r"\\u000b"),
        ("\\u00\x0b", "\\\\u00\x0b"),
    ],
    ids=ascii,
)
def test_only_the_seven_characters_of_nip01_are_escaped(content: str, in_json: str) -> None:
    event = event_hashed_as(in_json, content)
    assert compute_id(PUBKEY, NOW, 1, [["t", content]], content) == event.id
    assert id_matches(event)


@pytest.mark.parametrize("control", OTHER_CONTROLS, ids=ascii)
def test_a_control_character_may_also_be_hashed_as_json_encoders_write_it(control: str) -> None:
    assert id_matches(event_hashed_as(f"\\u{ord(control):04x}", control))


@pytest.mark.parametrize(
    ("in_json", "content"),
    [
        ("\\u0001\x02", "\x01\x02"),
        ("\\u000B", "\x0b"),
        ("\\u000a", "\n"),
        ("\n", "\n"),
        ("\\u007f", "\x7f"),
        ("\\u2028", "\u2028"),
        ("\\u00e9", "é"),
        ("\\ud83d\\ude00", "😀"),
        ("\\/", "/"),
        (r"\u000b", r"\u000b"),
        ("a", "b"),
    ],
    ids=[
        "a mixture of both forms",
        "uppercase escape",
        "long form of an escape",
        "line feed unescaped",
        "delete escaped",
        "line separator escaped",
        "letter escaped",
        "emoji escaped",
        "slash escaped",
        "backslash not escaped",
        "another text",
    ],
)
def test_no_other_spelling_is_taken(in_json: str, content: str) -> None:
    assert not id_matches(event_hashed_as(in_json, content))


@pytest.mark.slow
@given(tag_lists, unicode_texts)
def test_both_forms_are_taken_whatever_the_text(tags: list[list[str]], content: str) -> None:
    assert compute_id(PUBKEY, NOW, 1, tags, content) == verbatim_id(tags, content)
    for event_id in (verbatim_id(tags, content), encoder_id(tags, content)):
        assert id_matches(Event(event_id, PUBKEY, NOW, 1, tags, content, "5" * 128))


@given(tag_lists, unicode_texts)
def test_the_ascii_form_is_never_taken(tags: list[list[str]], content: str) -> None:
    event_id = encoder_id(tags, content, ensure_ascii=True)
    assume(event_id not in (verbatim_id(tags, content), encoder_id(tags, content)))
    assert not id_matches(Event(event_id, PUBKEY, NOW, 1, tags, content, "5" * 128))


@pytest.mark.parametrize(
    "change",
    [
        {"pubkey": "0" * 64},
        {"created_at": NOW + 1},
        {"kind": 2},
        {"tags": []},
        {"tags": [["t", "\x0b", ""]]},
        {"tags": [["t"], ["\x0b"]]},
        {"content": "\x0b "},
        {"content": "\\u000b"},
        {"id": "0" * 64},
    ],
    ids=str,
)
def test_an_event_changed_in_any_field_has_another_id(change: dict[str, object]) -> None:
    event = event_hashed_as("\x0b", "\x0b")
    assert id_matches(event)
    assert not id_matches(msgspec.structs.replace(event, **change))


def test_the_signature_is_no_part_of_the_id() -> None:
    assert id_matches(msgspec.structs.replace(ALICE.event("hello"), sig="0" * 128))
