"""EVENT: the event itself, or an answer that names the field that is wrong."""

from __future__ import annotations

import json

import msgspec
import pytest

from tests.support.keys import ALICE
from trio_relay import Event
from trio_relay.nostr.message import ClientMessage, Publish, RefusedMessage, parse

EVENT = ALICE.event("hello", tags=[["t", "x"]])
FIELDS: dict[str, object] = msgspec.to_builtins(EVENT)
DEEP = 10_000

HEX64, HEX128 = "must be 64 lowercase hex characters", "must be 128 lowercase hex characters"
CREATED_AT_TYPE = "created_at must be an integer between 0 and 8589934591"
CREATED_AT_RANGE = "created_at must be between 0 and 8589934591"
KIND_TYPE = "kind must be an integer between 0 and 65535"
TAGS = "tags must be a list of lists of strings"
SURROGATE = "a lone surrogate, which is no Unicode text"
FOREIGN = "the event holds something that JSON cannot carry"


def text_of(fields: dict[str, object], **raw: str) -> str:
    """An EVENT message; `raw` gives fields as JSON text, as no encoder would write them."""
    parts = {name: json.dumps(value) for name, value in fields.items()} | raw
    return '["EVENT",{' + ",".join(f'"{name}":{part}' for name, part in parts.items()) + "}]"


def read(text: str | bytes) -> ClientMessage:
    return parse(text.encode() if isinstance(text, str) else text, max_filters=1)


def answer(text: str | bytes) -> list[object]:
    action = read(text)
    assert isinstance(action, RefusedMessage), action
    decoded: list[object] = json.loads(action.message)
    return decoded


@pytest.mark.parametrize(
    "text",
    [
        text_of(FIELDS),
        msgspec.json.encode(["EVENT", EVENT]).decode(),
        json.dumps(["EVENT", dict(reversed(FIELDS.items()))], indent=2),
        "\n\t " + text_of(FIELDS) + "\r\n",
        text_of(FIELDS).replace("EVENT", "\\u0045VE\\u004eT"),
        text_of(FIELDS).replace('"content"', '"\\u0063ontent"'),
        text_of(FIELDS, content='"\\u0068ello"'),
        text_of(FIELDS, more="1", mined="[[[{}]]]"),
        text_of(FIELDS).replace('"kind":1', '"kind":7,"content":"first","kind":1'),
    ],
    ids=["json", "msgspec", "indented", "space", "verb escaped", "name escaped", "text escaped", "more", "twice"],
)
def test_an_event_is_read_however_its_json_is_written(text: str) -> None:
    """Unknown fields are left out, and of duplicate keys the last wins."""
    assert read(text) == Publish(EVENT)


def test_control_characters_and_nul_are_text() -> None:
    event = msgspec.structs.replace(EVENT, content="\0\x0b\x7f\u2028\uffff😀", tags=[["\0", ""], []])
    assert read(text_of(msgspec.to_builtins(event))) == Publish(event)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ({"pubkey": "null"}, "pubkey must be a string"),
        ({"pubkey": '"abc"'}, f"pubkey {HEX64}"),
        ({"pubkey": json.dumps(EVENT.pubkey.upper())}, f"pubkey {HEX64}"),
        ({"pubkey": '"\\ud800"'}, f"pubkey holds {SURROGATE}"),
        ({"sig": "1"}, "sig must be a string"),
        ({"sig": '""'}, f"sig {HEX128}"),
        ({"sig": '"\\udc00\\ud800"'}, f"sig holds {SURROGATE}"),
        ({"content": "null"}, "content must be a string"),
        ({"content": "{}"}, "content must be a string"),
        ({"content": '"a\\ud800b"'}, f"content holds {SURROGATE}"),
        ({"content": '"\\ude00\\ud83d"'}, f"content holds {SURROGATE}"),
        ({"kind": "-1"}, "kind must be between 0 and 65535"),
        ({"kind": "65536"}, "kind must be between 0 and 65535"),
        ({"kind": "true"}, KIND_TYPE),
        ({"kind": "1.0"}, KIND_TYPE),
        ({"kind": '"1"'}, KIND_TYPE),
        ({"kind": "null"}, KIND_TYPE),
        ({"kind": "Infinity"}, KIND_TYPE),
        ({"created_at": "-1"}, CREATED_AT_RANGE),
        ({"created_at": "8589934592"}, CREATED_AT_RANGE),
        ({"created_at": "9223372036854775808"}, CREATED_AT_RANGE),
        ({"created_at": "1" + "0" * 400}, CREATED_AT_RANGE),
        ({"created_at": "1e10"}, CREATED_AT_TYPE),
        ({"created_at": "1.7e9"}, CREATED_AT_TYPE),
        ({"created_at": "1700000000.0"}, CREATED_AT_TYPE),
        ({"created_at": "1.0"}, CREATED_AT_TYPE),
        ({"created_at": "1e400"}, CREATED_AT_TYPE),
        ({"created_at": "NaN"}, CREATED_AT_TYPE),
        ({"created_at": "true"}, CREATED_AT_TYPE),
        ({"created_at": "false"}, CREATED_AT_TYPE),
        ({"created_at": '"1700000000"'}, CREATED_AT_TYPE),
        ({"created_at": "[]"}, CREATED_AT_TYPE),
        ({"created_at": "1" + "0" * 5_000}, CREATED_AT_TYPE),
        ({"created_at": "-1" + "0" * 5_000}, CREATED_AT_TYPE),
        ({"tags": "null"}, TAGS),
        ({"tags": "{}"}, TAGS),
        ({"tags": '"t"'}, TAGS),
        ({"tags": '["t"]'}, TAGS),
        ({"tags": '[["t"],null]'}, TAGS),
        ({"tags": '[["t",1]]'}, TAGS),
        ({"tags": '[["t",null]]'}, TAGS),
        ({"tags": '[["t",["x"]]]'}, TAGS),
        ({"tags": '[["t"],["x","\\ud800"]]'}, f"tags hold {SURROGATE}"),
        ({"more": '"\\ud800"'}, FOREIGN),
        ({"more": "NaN"}, FOREIGN),
        ({"\\ud800": "1"}, FOREIGN),
    ],
    ids=lambda value: ascii(value)[:60],
)
def test_a_wrong_field_is_named_in_the_ok_of_its_event(raw: dict[str, str], fault: str) -> None:
    assert answer(text_of(FIELDS, **raw)) == ["OK", EVENT.id, False, f"invalid: {fault}"]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ({"kind": "0"}, TAGS),
        ({"kind": "65535"}, TAGS),
        ({"kind": "-1"}, KIND_TYPE),
        ({"kind": "65536"}, KIND_TYPE),
        ({"created_at": "0"}, TAGS),
        ({"created_at": "8589934591"}, TAGS),
        ({"created_at": "-1"}, CREATED_AT_TYPE),
        ({"created_at": "8589934592"}, CREATED_AT_TYPE),
    ],
)
def test_of_several_wrong_fields_the_first_is_named_and_never_a_right_one(raw: dict[str, str], fault: str) -> None:
    assert answer(text_of(FIELDS, tags="null", **raw)) == ["OK", EVENT.id, False, f"invalid: {fault}"]


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in ("id", "tags")])
def test_a_missing_field_is_named(name: str) -> None:
    rest = {key: value for key, value in FIELDS.items() if key != name}
    assert answer(text_of(rest)) == ["OK", EVENT.id, False, f"invalid: {name} is missing"]


def test_missing_tags_are_named() -> None:
    rest = {key: value for key, value in FIELDS.items() if key != "tags"}
    assert answer(text_of(rest)) == ["OK", EVENT.id, False, f"invalid: {TAGS}"]


@pytest.mark.parametrize("more", ["null", "1", '"x"', "{}", "{},[]"])
def test_an_event_stands_alone_in_its_message(more: str) -> None:
    text = text_of(FIELDS)[:-1] + f",{more}]"
    assert answer(text) == ["OK", EVENT.id, False, "invalid: EVENT takes one event and nothing else"]


def test_an_uppercase_id_is_readable_but_wrong() -> None:
    text = text_of(FIELDS, id=json.dumps(EVENT.id.upper()))
    assert answer(text) == ["OK", EVENT.id.upper(), False, f"invalid: id {HEX64}"]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ({"id": '"abc"'}, f"id {HEX64}"),
        ({"id": f'"{"a" * 65}"'}, f"id {HEX64}"),
        ({"id": f'"{"g" * 64}"'}, f"id {HEX64}"),
        ({"id": f'"{"a" * 64}\\n"'}, f"id {HEX64}"),
        ({"id": "1"}, "id must be a string"),
        ({"id": "null"}, "id must be a string"),
        ({"id": '["a"]'}, "id must be a string"),
        ({"id": '"\\ud800"'}, f"id holds {SURROGATE}"),
        ({"id": '"abc"', "content": "1"}, "content must be a string"),
    ],
)
def test_without_a_readable_id_there_is_a_notice(raw: dict[str, str], fault: str) -> None:
    assert answer(text_of(FIELDS, **raw)) == ["NOTICE", f"invalid: {fault}"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["EVENT"]', "EVENT takes an event, an object"),
        ('["EVENT",null]', "EVENT takes an event, an object"),
        ('["EVENT",[]]', "EVENT takes an event, an object"),
        (f'["EVENT","{EVENT.id}"]', "EVENT takes an event, an object"),
        ('["EVENT","sub",{}]', "EVENT takes an event, an object"),
        ('["EVENT",NaN]', "EVENT takes an event, an object"),
        ('["\\u0045VENT"]', "EVENT takes an event, an object"),
        ('["EVENT",{}]', "id is missing"),
        ('["EVENT",{},{}]', "EVENT takes one event and nothing else"),
        (text_of(FIELDS)[:-1], "not a JSON array that can be read"),
        (text_of(FIELDS)[:-2], "not a JSON array that can be read"),
        (text_of(FIELDS) + "x", "not a JSON array that can be read"),
        (text_of(FIELDS, content='"a\tb"'), "not a JSON array that can be read"),
        (text_of(FIELDS, created_at="01"), "not a JSON array that can be read"),
        (text_of(FIELDS).encode().replace(b"hello", b"\xff"), "not a JSON array that can be read"),
        (text_of(FIELDS, tags="[" * DEEP + "]" * DEEP), "not a JSON array that can be read"),
        (text_of(FIELDS, tags="[" * DEEP), "not a JSON array that can be read"),
        (text_of(FIELDS, more='{"a":' * DEEP + "1" + "}" * DEEP), "not a JSON array that can be read"),
    ],
    ids=lambda value: ascii(value[:24]),
)
def test_what_holds_no_event_gets_a_notice(text: str | bytes, reason: str) -> None:
    assert answer(text) == ["NOTICE", f"invalid: {reason}"]


@pytest.mark.parametrize("verb", ["EVENT", "\\u0045VENT"])
def test_a_verb_in_escapes_is_refused_like_the_plain_one(verb: str) -> None:
    text = text_of(FIELDS, content='"\\ud800"').replace("EVENT", verb)
    assert answer(text) == ["OK", EVENT.id, False, f"invalid: content holds {SURROGATE}"]


def test_a_surrogate_in_utf8_is_refused_like_an_escaped_one() -> None:
    data = text_of(FIELDS).encode().replace(b"hello", b"\xed\xa0\x80")
    assert answer(data) == ["OK", EVENT.id, False, f"invalid: content holds {SURROGATE}"]


def test_of_two_ids_the_last_is_answered() -> None:
    text = text_of(FIELDS, kind="true").replace('"id":', f'"id":"{"0" * 64}","id":')
    assert answer(text) == ["OK", EVENT.id, False, f"invalid: {KIND_TYPE}"]


def test_depth_that_python_can_read_is_judged_like_any_value() -> None:
    text = text_of(FIELDS, tags="[" * 100 + "]" * 100)
    assert answer(text) == ["OK", EVENT.id, False, f"invalid: {TAGS}"]


def test_an_event_of_many_tags_is_read() -> None:
    event = Event(EVENT.id, EVENT.pubkey, 0, 65_535, [["t", str(number)] for number in range(10_000)], "", EVENT.sig)
    assert read(text_of(msgspec.to_builtins(event))) == Publish(event)
