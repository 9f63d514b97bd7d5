"""Long messages: what they may hold is counted before it is decoded, and what cannot be read is not read twice."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.keys import ALICE, NOW
from tests.support.marks import examples
from trio_relay import Limits
from trio_relay.nostr import event as events
from trio_relay.nostr import message, message_bounds, session

MEGABYTE = 2**20
EVENT_ID, KEY, SIG = "a" * 64, "b" * 64, "c" * 128


def fill(unit: str, room: int = MEGABYTE - 600) -> str:
    """So many of these, with commas between, that they fill the room."""
    return ",".join([unit] * (room // (len(unit) + 1)))


def carrying(verb: str = "EVENT", **raw: str) -> bytes:
    """A message with an event, whose fields are given as JSON text."""
    fields = {"id": f'"{EVENT_ID}"', "pubkey": f'"{KEY}"', "created_at": "1", "kind": "1", "tags": "[]"}
    fields |= {"content": '""', "sig": f'"{SIG}"'} | raw
    return f'["{verb}",{{{",".join(f"{json.dumps(name)}:{text}" for name, text in fields.items())}}}]'.encode()


def asking(filters: str, verb: str = "REQ") -> bytes:
    return f'["{verb}","a",{filters}]'.encode()


def answer(data: bytes) -> list[Any]:
    """What a client with all default limits is answered at once."""
    action = session.Session(Limits()).receive(data)
    found: list[Any] = msgspec.json.decode(action.message)  # type: ignore[union-attr]  # a refusal
    return found


TAGS = "invalid: more than 10000 tags (max_event_tags)"
ITEMS = "invalid: more than 60000 items in the tags of a long event (max_event_tags)"
LISTS = "invalid: more lists and objects than 20 filters can have (max_filters)"
VALUES = "invalid: at most 25000 values in the filters of a connection (max_filter_values)"
REFUSED: list[tuple[str, bytes, list[Any]]] = [
    ("empty tags", carrying(tags=f"[{fill('[]')}]"), ["OK", EVENT_ID, False, ITEMS]),
    ("tags of a text", carrying(tags=f"[{fill('[1234567]')}]"), ["OK", EVENT_ID, False, ITEMS]),
    ("long tags", carrying(tags=f"[{fill('[' + '1' * 20 + ']')}]"), ["OK", EVENT_ID, False, TAGS]),
    ("empty texts", carrying(tags=f"[[{fill(json.dumps(''))}]]"), ["OK", EVENT_ID, False, ITEMS]),
    ("texts of a character", carrying(tags=f"[[{fill(json.dumps('a'))}]]"), ["OK", EVENT_ID, False, ITEMS]),
    ("escaped texts", carrying(tags=f"[[{fill(json.dumps(chr(92)))}]]"), ["OK", EVENT_ID, False, ITEMS]),
    ("empty tags of an AUTH", carrying("AUTH", tags=f"[{fill('[]')}]"), ["OK", EVENT_ID, False, ITEMS]),
    ("a bad kind and tags", carrying(kind="1.5", tags=f"[{fill('[]')}]"), ["OK", EVENT_ID, False, ITEMS]),
    ("a bad id and tags", carrying(id='"x"', tags=f"[{fill('[]')}]"), ["NOTICE", ITEMS]),
    ("a bad item at the end", carrying(tags=f"[[{fill(json.dumps('a'))}],[1]]"), ["OK", EVENT_ID, False, ITEMS]),
    ("the id at the end", carrying(tags=f"[{fill('[]')}]")[:-1] + b"]", ["OK", EVENT_ID, False, ITEMS]),
    ("an unknown field", carrying(more=f"[{fill('{}')}]"), ["OK", EVENT_ID, False, ITEMS]),
    ("deep lists", carrying(tags="[" * 100_000 + "]" * 100_000), ["OK", EVENT_ID, False, TAGS]),
    ("empty filters", asking(fill("{}")), ["CLOSED", "a", VALUES]),
    ("empty filters of a COUNT", asking(fill("{}"), "COUNT"), ["CLOSED", "a", VALUES]),
    ("empty filters of a sync", asking(fill("{}"), "NEG-OPEN"), ["NEG-ERR", "a", VALUES]),
    (
        "filters",
        asking(fill(json.dumps({"search": "x" * 99}))),
        ["CLOSED", "a", LISTS],
    ),
    ("lists", asking(f"[{fill('[]')}]"), ["CLOSED", "a", VALUES]),
    ("numbers", asking(f'{{"kinds":[{fill("1")}]}}'), ["CLOSED", "a", VALUES]),
    ("texts", asking(f'{{"#t":[{fill(json.dumps("a"))}]}}'), ["CLOSED", "a", VALUES]),
    (
        "names",
        asking("{" + fill('"abcdefghijklmnopqrstuvwxyz abcdefghijklmnopqrstuvwxyz":1') + "}"),
        ["CLOSED", "a", LISTS],
    ),
    ("deep filters", asking("[" * 400_000 + "]" * 400_000), ["CLOSED", "a", LISTS]),
    ("empty filters and nonsense", asking(f"{fill('{}')},NaN"), ["CLOSED", "a", VALUES]),
    ("empty filters without an end", asking(fill("{}"))[:-1], ["CLOSED", "a", VALUES]),
    ("no verb", f"[{fill('{}')}]".encode(), ["NOTICE", VALUES]),
    ("an unknown verb", f'["FOO","a",{fill("{}")}]'.encode(), ["NOTICE", VALUES]),
    ("an event by escapes", carrying("\\u0045VENT", tags=f"[{fill('[]')}]"), ["NOTICE", VALUES]),
]


@pytest.mark.parametrize(("data", "expected"), [pytest.param(d, e, id=name) for name, d, e in REFUSED])
def test_what_no_limit_allows_is_refused_without_being_decoded(data: bytes, expected: list[Any]) -> None:
    """Not an object for each value, which would take 20 MB and more: copies of the message alone."""
    tracemalloc.start()
    told = answer(data)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 7 * MEGABYTE
    assert told == expected


def test_an_id_is_found_at_either_end_of_a_long_message() -> None:
    fields = f'"tags":[{fill("[]")}],"content":"","pubkey":"{KEY}","id":"{EVENT_ID}","sig":"{SIG}"'
    assert answer(f'["EVENT",{{{fields}}}]'.encode()) == ["OK", EVENT_ID, False, ITEMS]


def test_an_id_that_stands_in_a_text_is_not_taken_for_one() -> None:
    content = json.dumps(f'"id":"{EVENT_ID}"')
    data = f'["EVENT",{{"content":{content},"tags":[{fill("[]")}]}}]'.encode()
    assert answer(data) == ["NOTICE", ITEMS]


MALFORMED: list[tuple[str, bytes, list[Any]]] = [
    (
        "a bad kind",
        carrying(kind='"1"', content=f'"{"x" * 70_000}"'),
        ["OK", EVENT_ID, False, "kind is not of the form"],
    ),
    (
        "no tags",
        carrying(content=f'"{"x" * 70_000}"').replace(b'"tags"', b'"tag"'),
        ["OK", EVENT_ID, False, "tags is miss"],
    ),
    (
        "a surrogate",
        carrying(content=f'"{"x" * 70_000}\\ud800"'),
        ["OK", EVENT_ID, False, "the message is not valid JSON"],
    ),
    ("a control character", carrying(content=f'"{"x" * 70_000}\x01"'), ["OK", EVENT_ID, False, "the message is not"]),
    (
        "of an AUTH",
        carrying("AUTH", content=f'"{"x" * 70_000}\x01"'),
        ["OK", EVENT_ID, False, "the message is not valid"],
    ),
    ("a huge number", carrying(kind="9" * 100_000), ["OK", EVENT_ID, False, "kind is not of the form"]),
    (
        "a huge number in a REQ",
        asking(f'{{"kinds":[NaN],"search":"{"x" * 70_000}"}}'),
        ["CLOSED", "a", "the message is not"],
    ),
    ("a COUNT", asking(f'{{"kinds":[NaN],"search":"{"x" * 70_000}"}}', "COUNT"), ["CLOSED", "a", "the message is not"]),
    (
        "a sync",
        asking(f'{{"kinds":[NaN],"search":"{"x" * 70_000}"}}', "NEG-OPEN"),
        ["NEG-ERR", "a", "the message is not"],
    ),
    ("no end", b'["REQ","a",{"search":"' + b"x" * 70_000, ["CLOSED", "a", "the message is not valid JSON"]),
    ("no JSON", b"x" * 70_000, ["NOTICE", "the message is not valid JSON"]),
    ("no subscription id", b'["REQ",1,{"search":"' + b"x" * 70_000, ["NOTICE", "the message is not valid JSON"]),
]


@pytest.mark.parametrize(("data", "expected"), [pytest.param(d, e, id=name) for name, d, e in MALFORMED])
def test_a_long_message_is_not_read_a_second_time(
    data: bytes, expected: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    loads = json.loads

    def counting(text: bytes, **options: Any) -> object:
        read.append(len(text))
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", counting)
    *head, reason = answer(data)
    assert head == expected[:-1]
    assert reason.startswith(f"invalid: {expected[-1]}")
    assert read == []


def test_a_short_message_is_read_again_and_named_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    data = carrying(content=f'"{"x" * 65_000}"', kind='"1"')
    assert answer(data) == ["OK", EVENT_ID, False, "invalid: kind must be an integer between 0 and 65535"]


TEXT = '"[{,:}]\\\\' * 20_000
HONEST = [
    events.Event(EVENT_ID, KEY, NOW, 3, [["p", KEY, "wss://relay.example", "a, [b]"]] * 7_000, "", SIG),
    events.Event(EVENT_ID, KEY, NOW, 3, [["e", KEY]] * 10_000, "", SIG),
    events.Event(EVENT_ID, KEY, NOW, 30_000, [["a", f"30023:{KEY}:d"]] * 8_000, "", SIG),
    events.Event(EVENT_ID, KEY, NOW, 1, [["x"] * 6] * 10_000, "", SIG),
    events.Event(EVENT_ID, KEY, NOW, 30_078, [["d", ""]], TEXT[:262_144], SIG),
    events.Event(EVENT_ID, KEY, NOW, 30_078, [["d", TEXT[:65_536]]] * 5, TEXT[:65_536], SIG),
    events.Event(EVENT_ID, KEY, NOW, 30_023, [], "text, and: [more] {text}\n" * 10_000, SIG),
]


@pytest.mark.parametrize("event", HONEST, ids=range(len(HONEST)))
@pytest.mark.parametrize("write", [msgspec.json.encode, lambda value: json.dumps(msgspec.to_builtins(value)).encode()])
def test_what_the_limits_allow_is_read_as_before(event: events.Event, write: Callable[[object], bytes]) -> None:
    conversation = session.Session(Limits())
    assert conversation.receive(write(("EVENT", event))) == message.Publish(event)
    assert conversation.receive(write(("AUTH", event))) == message.Authenticate(event)


@pytest.mark.parametrize("blanks", [0, 64, 65, 100_000])
@pytest.mark.parametrize("verb", ["EVENT", "AUTH"])
def test_blanks_in_front_change_nothing(blanks: int, verb: str) -> None:
    note = HONEST[1]
    found = session.Session(Limits()).receive(b" " * blanks + msgspec.json.encode((verb, note)))
    assert found == (message.Publish(note) if verb == "EVENT" else message.Authenticate(note))


def test_so_are_requests() -> None:
    values = [f"{number:064x}" for number in range(15_000)]
    hashtags = [f"[{number}],:{{}}" for number in range(20_000)]
    for filters in ([{"authors": values}], [{"#t": hashtags}], [{"#e": values[:700], "kinds": [1]}] * 20):
        action = session.Session(Limits()).receive(msgspec.json.encode(["REQ", "a", *filters]))
        assert isinstance(action, message.Subscribe)


@pytest.mark.slow
def test_higher_limits_let_more_through() -> None:
    data = carrying(tags=f"[{fill('[]')}]")
    assert isinstance(session.Session(Limits(max_event_tags=400_000)).receive(data), message.Publish)


def structure(value: object) -> tuple[int, int]:
    """How many lists, objects and names a value holds, and how many strings and other leaves."""
    if isinstance(value, dict):
        parts = [structure(part) for part in value.values()]
        return 1 + len(value) + sum(lists for lists, _ in parts), len(value) + sum(leaves for _, leaves in parts)
    if isinstance(value, list):
        parts = [structure(part) for part in value]
        return 1 + sum(lists for lists, _ in parts), sum(leaves for _, leaves in parts)
    return 0, 1


texts = st.text('"\\[]{},:ab/é\n', max_size=6)
values = st.recursive(
    st.one_of(st.integers(0, 9), texts, st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=12,
)


@given(value=values, ascii_only=st.booleans())
@example(value=["\\"], ascii_only=True)
@example(value=['\\"', "[", "\\\\", ","], ascii_only=True)
@settings(max_examples=examples(100))
@pytest.mark.slow
def test_what_stands_in_texts_does_not_count(value: object, ascii_only: bool) -> None:
    """A message is refused only for what it holds: with room for all of that it passes, however it is written."""
    data = json.dumps(value, ensure_ascii=ascii_only).encode() + b" " * 140_000
    lists, leaves = structure(value)
    enough = message_bounds.Bounds(lists, lists + leaves, "lists", "values")
    assert enough.excess(data) is None
    opened = json.dumps(structure_only(value)).translate({ord(" "): None})
    brackets = opened.count("[") + opened.count("{")
    if brackets:
        assert message_bounds.Bounds(brackets - 1, 1_000, "lists", "values").excess(data) == "lists"
    if commas := opened.count(","):
        assert message_bounds.Bounds(1_000, commas - 1, "lists", "values").excess(data) == "values"


def structure_only(value: object) -> object:
    """The same value with empty texts alone; names are numbered, so that none is lost."""
    if isinstance(value, dict):
        return {str(number): structure_only(part) for number, part in enumerate(value.values())}
    if isinstance(value, list):
        return [structure_only(part) for part in value]
    return 0


def calls(work: Callable[[], object]) -> int:
    """How many functions a piece of work calls, those written in C too."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("item", ["a\x01", "\x01\x02\x03\x04", "\\u0001\x1b", "plain"])
def test_an_id_costs_no_call_for_each_item(item: str) -> None:
    tags = [["t", item, item, item]] * 2_500
    event = events.Event(EVENT_ID, KEY, NOW, 1, tags, item, SIG)
    assert calls(lambda: events.id_matches(event)) < 100
    assert events.id_matches(events.Event(events.compute_id(KEY, NOW, 1, tags, item), KEY, NOW, 1, tags, item, SIG))


def verbatim(event: events.Event) -> bytes:
    """NIP-01's array, character by character."""
    escapes = {"\n": "\\n", '"': '\\"', "\\": "\\\\", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}

    def quoted(text: str) -> str:
        return '"' + "".join(escapes.get(character, character) for character in text) + '"'

    tags = ",".join("[" + ",".join(map(quoted, tag)) + "]" for tag in event.tags)
    return f'[0,"{event.pubkey}",{event.created_at},{event.kind},[{tags}],{quoted(event.content)}]'.encode()


odd = st.text(st.one_of(st.characters(max_codepoint=40), st.sampled_from('\\"u01é\U0001f600\x7f\x80')), max_size=12)


@given(content=odd, tags=st.lists(st.lists(odd, max_size=3), max_size=3))
@example(content="\\u0001\x01\\\x01\\\\u0001", tags=[["\x00", "\\"], ["\x1f"]])
@settings(max_examples=examples(150))
@pytest.mark.slow
def test_an_id_is_that_of_nip_01_character_by_character(content: str, tags: list[list[str]]) -> None:
    event = events.Event("", KEY, NOW, 1, tags, content, SIG)
    expected = sha256(verbatim(event)).hexdigest()
    assert events.compute_id(KEY, NOW, 1, tags, content) == expected
    assert events.id_matches(msgspec.structs.replace(event, id=expected))


@pytest.mark.parametrize(
    ("content", "matches"),
    [
        pytest.param("\x1b[31m" * 20_000, True, id="colours"),
        pytest.param("".join(map(chr, range(4))) * 8_000, True, id="four characters"),
        pytest.param("".join(map(chr, range(5))) * 6_000, False, id="five in a long event"),
        pytest.param("".join(map(chr, range(32))) * 100, True, id="all in a short one"),
        pytest.param("\x01" * 32_768, True, id="as many as there may be"),
        pytest.param("\x01" * 32_769, False, id="one more"),
    ],
)
def test_of_long_events_with_many_control_characters_one_form_is_taken(content: str, matches: bool) -> None:
    event = ALICE.event(content)
    array = [0, event.pubkey, event.created_at, event.kind, event.tags, event.content]
    common = sha256(json.dumps(array, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
    assert events.id_matches(msgspec.structs.replace(event, id=common))
    assert events.id_matches(msgspec.structs.replace(event, id=sha256(verbatim(event)).hexdigest())) is matches


def test_parse_alone_has_the_bounds_of_the_default_limits() -> None:
    assert message.parse(REFUSED[0][1], max_filters=20) == session.Session(Limits()).receive(REFUSED[0][1])
