"""What is written to programs and read from them, line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE, BOB, CAROL, NOW
from tests.support.server import plain
from trio_relay import Action, Filter, Source, Verdict
from trio_relay.nostr import filter as nostr_filter
from trio_relay.plugins import (
    Answer,
    BadAnswer,
    Lines,
    event_line,
    read_answer,
    refusal_of,
    request_line,
    verdict_on_event,
    verdict_on_request,
)

EVENT = ALICE.event("two\nlines")
NOTHING = Verdict(filters=(Filter(ids=frozenset()),))


def told(line: bytes) -> dict[str, Any]:
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    value: dict[str, Any] = json.loads(line)
    return value


def test_a_question_about_an_event_is_strfry_s() -> None:
    assert told(event_line(EVENT, Source("192.0.2.1"), NOW)) == {
        "type": "new",
        "event": plain(EVENT),
        "receivedAt": NOW,
        "sourceType": "IP4",
        "sourceInfo": "192.0.2.1",
    }


@pytest.mark.parametrize(
    ("source", "kind", "info"),
    [
        (Source("2001:db8::1"), "IP6", "2001:db8::1"),
        (Source("::ffff:192.0.2.1"), "IP4", "192.0.2.1"),
        (Source("unix"), "IP4", "unix"),
        (Source(way="import"), "Import", ""),
        (Source("wss://there.example", way="sync"), "Sync", "wss://there.example"),
    ],
)
def test_it_says_where_an_event_comes_from(source: Source, kind: str, info: str) -> None:
    question = told(event_line(EVENT, source, NOW))
    assert (question["sourceType"], question["sourceInfo"]) == (kind, info)


def test_it_names_the_key_that_a_client_has_authenticated_the_author_s_before_others() -> None:
    question = told(event_line(EVENT, Source(keys=frozenset([BOB.pubkey])), NOW))
    assert (question["authed"], "allAuthed" in question) == (BOB.pubkey, False)
    keys = frozenset([BOB.pubkey, ALICE.pubkey, CAROL.pubkey])
    question = told(event_line(EVENT, Source(keys=keys), NOW))
    assert (question["authed"], question["allAuthed"]) == (ALICE.pubkey, sorted(keys))


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        (b'{"id":"a","action":"accept"}', Verdict()),
        (b'{"id":"a","action":"accept","msg":"","more":[1]}', Verdict()),
        (b'{"msg":null,"action":"reject","id":"a"}', Verdict(Action.REJECT)),
        (b'{"id":"a","action":"reject","msg":"blocked: no"}', Verdict(Action.REJECT, "blocked: no")),
        (b' {"id":"a","action":"shadowReject","msg":"x"}\t', Verdict(Action.SHADOW_REJECT, "x")),
    ],
)
def test_an_answer_decides(line: bytes, verdict: Verdict) -> None:
    assert verdict_on_event(read_answer(line)) == verdict


@pytest.mark.parametrize("action", ["", "Accept", "shadow"])
def test_an_unknown_action_decides_nothing(action: str) -> None:
    with pytest.raises(BadAnswer, match="unknown action"):
        verdict_on_event(Answer("a", action))


@given(st.binary())
def test_any_line_is_an_answer_or_none(line: bytes) -> None:
    try:
        answer = read_answer(line)
    except BadAnswer:
        return
    assert json.loads(line)["id"] == answer.id


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ("", "blocked: not welcome on this relay"),
        ("no", "blocked: no"),
        ("pow: 20 bits", "pow: 20 bits"),
        ("why: so", "blocked: why: so"),
        ("rate-limited:\n slow  down", "rate-limited: slow down"),
        ("x" * 1_000, "blocked: " + "x" * 500),
    ],
)
def test_a_refusal_is_one_line_with_a_prefix(said: str, heard: str) -> None:
    assert str(refusal_of(Verdict(Action.REJECT, said))) == heard


def test_a_question_about_a_request_has_its_filters_as_clients_write_them() -> None:
    filters = [{"kinds": [7, 1], "#t": ["b", "a"], "since": 0, "limit": 5}, {"search": 'good "old times" -bad'}]
    question = told(request_line("1", list(map(nostr_filter.parse_filter, filters)), Source("192.0.2.1"), NOW))
    assert question == {
        "type": "req",
        "id": "1",
        "filters": [{"kinds": [1, 7], "#t": ["a", "b"], "since": 0, "limit": 5}, filters[1]],
        "receivedAt": NOW,
        "sourceType": "IP4",
        "sourceInfo": "192.0.2.1",
    }


def test_a_limit_that_the_client_did_not_name_is_not_told() -> None:
    asked = nostr_filter.parse_filter({"kinds": [1]}).with_limit(default=500, most=500)
    assert told(request_line("1", [asked], Source(), NOW))["filters"] == [{"kinds": [1]}]


@pytest.mark.parametrize(
    "source",
    [
        {},
        {"ids": [], "authors": ["a" * 64], "until": 9},
        {"search": 'sort:hot "a b" c -d language:en domain:example.com'},
        {"#t": ["a", "b"], "#p": ["b" * 64]},
        {"#t": ["a", "b"], "&t": ["c", "d"]},
        {"&t": ["c", "d"], "kinds": [1]},
    ],
)
def test_filters_that_come_back_as_they_went_are_the_same(source: dict[str, Any]) -> None:
    asked = nostr_filter.parse_filter(source, all_of=True)
    written = told(request_line("1", [asked], Source(), NOW))["filters"]
    verdict = verdict_on_request(Answer("1", "accept", filters=written), [asked])
    assert verdict.filters is not None
    assert [(set(one.tags), one.search, one.ids, one.until) for one in verdict.filters] == [
        (set(asked.tags), asked.search, asked.ids, asked.until)
    ]


def test_a_request_is_accepted_refused_narrowed_or_finds_nothing() -> None:
    asked = [Filter()]
    assert verdict_on_request(Answer("1", "accept"), asked) == Verdict()
    assert verdict_on_request(Answer("1", "reject", "no"), asked) == Verdict(Action.REJECT, "no")
    assert verdict_on_request(Answer("1", "accept", filters=[{"kinds": [1]}]), asked) == Verdict(
        filters=(Filter(kinds=frozenset([1])),)
    )
    assert verdict_on_request(Answer("1", "accept", filters=[]), asked) == NOTHING
    assert verdict_on_request(Answer("1", "shadowReject"), asked) == NOTHING


@pytest.mark.parametrize("filters", [[1], [{"kinds": 1}], [{"colour": "red"}]])
def test_what_are_no_filters_narrow_nothing(filters: list[Any]) -> None:
    with pytest.raises(BadAnswer, match="not filters"):
        verdict_on_request(Answer("1", "accept", filters=filters), [Filter()])


@given(st.lists(st.binary(max_size=12)), st.integers(1, 10))
def test_lines_are_the_same_however_they_come(parts: list[bytes], most: int) -> None:
    lines = Lines(most)
    found = [line for part in parts for line in lines.take(part)]
    *ended, begun = b"".join(parts).split(b"\n")
    assert found == [line.strip() for line in ended if len(line) <= most and line.strip()]
    assert lines.left_out == sum(len(line) > most for line in [*ended, begun])
