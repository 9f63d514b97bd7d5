"""COUNT (NIP-45): what each text from a client becomes, and what is answered."""

from __future__ import annotations

import json

import pytest

from trio_relay import Filter
from trio_relay.nostr import message
from trio_relay.nostr.message import ClientMessage, Count, RefusedMessage, parse


def read(text: str) -> ClientMessage:
    return parse(text.encode(), max_filters=3)


def answer(text: str) -> list[object]:
    action = read(text)
    assert isinstance(action, RefusedMessage), action
    assert action.ends is None, "a subscription of that id has nothing to do with it"
    decoded: list[object] = json.loads(action.message)
    return decoded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["COUNT","a",{}]', Count("a", (Filter(),))),
        (' [ "COUNT" ,\t"a"\r\n, {} ] ', Count("a", (Filter(),))),
        ('["\\u0043OUNT","a",{"kinds":[1]}]', Count("a", (Filter(kinds=frozenset({1})),))),
        ('["COUNT","a",{"limit":1},{},{"limit":0}]', Count("a", (Filter(limit=1), Filter(), Filter(limit=0)))),
        (f'["COUNT","{"é" * 64}",{{}}]', Count("é" * 64, (Filter(),))),
    ],
)
def test_a_good_count_becomes_what_it_asks_for(text: str, expected: Count) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "sub_id", "reason"),
    [
        ('["COUNT","",{}]', "", "invalid: a subscription id has 1 to 64 characters"),
        (f'["COUNT","{"x" * 65}",{{}}]', "x" * 65, "invalid: a subscription id has 1 to 64 characters"),
        ('["COUNT","a"]', "a", "invalid: COUNT needs at least one filter"),
        ('["COUNT","a",{},{},{},{}]', "a", "error: at most 3 filters in a COUNT (max_filters)"),
        ('["COUNT","a",[]]', "a", "invalid: a filter must be an object"),
        ('["COUNT","a",{"ids":["x"]}]', "a", "invalid: ids must hold strings of 64 lowercase hex characters"),
        ('["COUNT","a",{"x":1}]', "a", "unsupported: filter key 'x' is not known here"),
        ('["COUNT","a",{"kinds":[NaN]}]', "a", "invalid: the filters are not valid JSON"),
        ('["COUNT","a",{"#t":["\\ud800"]}]', "a", "invalid: the filters are not valid JSON"),
    ],
)
def test_a_count_with_a_readable_id_is_refused_by_closed(text: str, sub_id: str, reason: str) -> None:
    """NIP-45: a relay that does not fulfil a COUNT says CLOSED."""
    assert answer(text) == ["CLOSED", sub_id, reason]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["COUNT"]', "COUNT needs a subscription id, a string"),
        ('["COUNT",1,{}]', "COUNT needs a subscription id, a string"),
        ('["COUNT",["a"],{}]', "COUNT needs a subscription id, a string"),
        ('["COUNT","\\ud800",{}]', "the message holds text or numbers that JSON cannot carry"),
        ('["count","a",{}]', "unknown verb 'count'"),
    ],
)
def test_a_count_without_an_id_gets_a_notice_that_says_why(text: str, reason: str) -> None:
    assert answer(text) == ["NOTICE", f"invalid: {reason}"]


@pytest.mark.parametrize("number", [0, 238, 2**53])
def test_the_answer_is_compact_json(number: int) -> None:
    assert message.counted('a"', number).decode() == f'["COUNT","a\\"",{{"count":{number}}}]'
