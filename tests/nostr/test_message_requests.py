"""REQ, CLOSE and what is no message at all: what each text from a client becomes."""

from __future__ import annotations

import json

import pytest

from trio_relay import Filter
from trio_relay.nostr import message
from trio_relay.nostr.message import ClientMessage, RefusedMessage, Subscribe, Unsubscribe, parse

DEEP = 10_000


def read(text: str | bytes) -> ClientMessage:
    return parse(text.encode() if isinstance(text, str) else text, max_filters=3)


def answer(text: str | bytes) -> list[object]:
    action = read(text)
    assert isinstance(action, RefusedMessage), action
    decoded: list[object] = json.loads(action.message)
    return decoded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["REQ","a",{}]', Subscribe("a", (Filter(),))),
        (' [ "REQ" ,\t"a"\r\n, {} ] ', Subscribe("a", (Filter(),))),
        ('["\\u0052EQ","\\u0061",{"\\u0023t":["\\u0078"]}]', Subscribe("a", (Filter(tags=(("t", frozenset("x")),)),))),
        (
            '["REQ","a",{"kinds":[1]},{"limit":0},{}]',
            Subscribe("a", (Filter(kinds=frozenset({1})), Filter(limit=0), Filter())),
        ),
        ('["REQ","a",{"limit":1,"limit":2}]', Subscribe("a", (Filter(limit=2),))),
        ('["REQ","a",{"limit":-0}]', Subscribe("a", (Filter(limit=0),))),
        ('["REQ","a",{"#t":["\\u0000","é","😀"]}]', Subscribe("a", (Filter(tags=(("t", frozenset("\0é😀")),)),))),
        ('["REQ"," ",{}]', Subscribe(" ", (Filter(),))),
        (f'["REQ","{"é" * 64}",{{}}]', Subscribe("é" * 64, (Filter(),))),
        (f'["REQ","{"😀" * 64}",{{}}]', Subscribe("😀" * 64, (Filter(),))),
        ('["CLOSE","a"]', Unsubscribe("a")),
        ('["CLOSE",""]', Unsubscribe("")),
    ],
)
def test_a_good_message_becomes_what_it_asks_for(text: str, expected: ClientMessage) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "sub_id", "reason"),
    [
        ('["REQ","",{}]', "", "invalid: a subscription id has 1 to 64 characters"),
        (f'["REQ","{"x" * 65}",{{}}]', "x" * 65, "invalid: a subscription id has 1 to 64 characters"),
        ('["REQ","a"]', "a", "invalid: REQ needs at least one filter"),
        ('["REQ","a",{},{},{},{}]', "a", "error: at most 3 filters in a REQ (max_filters)"),
        ('["REQ","a",[]]', "a", "invalid: a filter must be an object"),
        ('["REQ","a",{},null]', "a", "invalid: a filter must be an object"),
        ('["REQ","a",{"ids":["x"]}]', "a", "invalid: ids must hold strings of 64 lowercase hex characters"),
        ('["REQ","a",{},{"limit":1.0}]', "a", "invalid: limit must be an integer, 0 or more"),
        ('["REQ","a",{"since":1e10}]', "a", "invalid: since must be an integer, 0 or more"),
        ('["REQ","a",{"until":true}]', "a", "invalid: until must be an integer, 0 or more"),
        ('["REQ","a",{"x":1}]', "a", "unsupported: filter key 'x' is not known here"),
        ('["REQ","a",{"kinds":[NaN]}]', "a", "invalid: the filters are not valid JSON"),
        ('["REQ","a",{"limit":1e400}]', "a", "invalid: the filters are not valid JSON"),
        ('["REQ","a",{"limit":Infinity}]', "a", "invalid: the filters are not valid JSON"),
        ('["REQ","a",{"#t":["\\ud800"]}]', "a", "invalid: the filters are not valid JSON"),
        ('["REQ","a",{"\\udfff":[]}]', "a", "invalid: the filters are not valid JSON"),
    ],
)
def test_a_req_with_a_readable_id_is_refused_by_closed(text: str, sub_id: str, reason: str) -> None:
    assert answer(text) == ["CLOSED", sub_id, reason]


@pytest.mark.parametrize("digits", [20, 400, 5_000, 100_000])
def test_an_integer_of_any_length_is_clamped_or_refused(digits: int) -> None:
    """Python itself refuses to read more than 4,300 digits; a message that is not long is read in spite of that."""
    action = read(f'["REQ","a",{{"limit":{"9" * digits}}}]')
    if digits == 100_000:
        assert action == message.close("a", "invalid: the message is not valid JSON of the form that its verb needs")
    elif digits < 4_300:
        assert action == Subscribe("a", (Filter(limit=2**53),))
    else:
        assert action == message.close("a", "invalid: the filters are not valid JSON")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "hello",
        "{}",
        "{",
        '{"EVENT":1}',
        '"EVENT"',
        "1",
        "null",
        "NaN",
        "[",
        '["CLOSE","a"',
        '["CLOSE","a",]',
        '["CLOSE","a"] x',
        '["CLOSE","a"]["CLOSE","b"]',
        "['CLOSE','a']",
        '["REQ","a\n",{}]',
        '["EVENT"',
        b"\xff",
        b'["CLOSE","\xff"]',
        b"\0",
        "[" * DEEP,
        "[" * DEEP + "]" * DEEP,
        '{"a":' * DEEP + "1" + "}" * DEEP,
        '["REQ","a",' + "[" * DEEP + "]" * DEEP + "]",
        '["REQ","a",' + '{"a":' * DEEP + "1" + "}" * DEEP + "]",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_what_cannot_be_read_as_a_json_array_gets_a_notice(text: str | bytes) -> None:
    assert answer(text) == ["NOTICE", "invalid: not a JSON array that can be read"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "a message is an array that starts with its verb"),
        ("[1]", "a message is an array that starts with its verb"),
        ('[["REQ","a",{}]]', "a message is an array that starts with its verb"),
        ('[null,"a"]', "a message is an array that starts with its verb"),
        ('["FOO"]', "unknown verb 'FOO'"),
        ('["req","a",{}]', "unknown verb 'req'"),
        ('["EVENTS",{}]', "unknown verb 'EVENTS'"),
        ('["AUTHS","x"]', "unknown verb 'AUTHS'"),
        ('["AUTH","x"]', "AUTH takes an event, an object"),
        ('["","x"]', "unknown verb ''"),
        ('["\\u0000\\n\\"é"]', "unknown verb '\\x00\\n\"é'"),
        (f'["{"V" * 40}"]', f"unknown verb '{'V' * 32}'"),
        ('["REQ"]', "REQ needs a subscription id, a string"),
        ('["REQ",1,{}]', "REQ needs a subscription id, a string"),
        ('["REQ",null,{}]', "REQ needs a subscription id, a string"),
        ('["REQ",["a"],{}]', "REQ needs a subscription id, a string"),
        ('["CLOSE"]', "CLOSE needs a subscription id, a string"),
        ('["CLOSE",true]', "CLOSE needs a subscription id, a string"),
        ('["CLOSE","a","b"]', "CLOSE needs a subscription id, a string"),
        ('["REQ","\\ud800",{}]', "the message holds text or numbers that JSON cannot carry"),
        ('["CLOSE","\\ud800"]', "the message holds text or numbers that JSON cannot carry"),
        ('["\\ud800"]', "the message holds text or numbers that JSON cannot carry"),
        ("[NaN]", "the message holds text or numbers that JSON cannot carry"),
    ],
)
def test_what_names_no_subscription_gets_a_notice_that_says_why(text: str, reason: str) -> None:
    assert answer(text) == ["NOTICE", f"invalid: {reason}"]


def test_as_many_filters_as_are_allowed_are_taken() -> None:
    assert read('["REQ","a",{},{},{}]') == Subscribe("a", (Filter(), Filter(), Filter()))


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (message.ok("a", True), '["OK","a",true,""]'),
        (message.ok("a", False, "invalid: é"), '["OK","a",false,"invalid: é"]'),
        (message.eose('"\0'), '["EOSE","\\"\\u0000"]'),
        (message.eose("a", message.FINISH), '["EOSE","a",["finish"]]'),
        (message.eose("a", message.MORE), '["EOSE","a",["more"]]'),
        (message.closed("a", "error: x"), '["CLOSED","a","error: x"]'),
        (message.notice("x"), '["NOTICE","x"]'),
        (message.event_head('a"b') + b"{}]", '["EVENT","a\\"b",{}]'),
    ],
)
def test_messages_to_clients_are_compact_json(sent: bytes, expected: str) -> None:
    assert sent.decode() == expected
