"""Whatever comes in, something sensible comes out: `parse` never fails, and its answers can always be sent."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.texts import check_message
from tests.support.keys import ALICE
from tests.support.marks import examples
from trio_relay.nostr.message import parse

EVENT = msgspec.to_builtins(ALICE.event("hello", tags=[["e", "a" * 64], ["t", "x"]]))
MAX_FILTERS = 3
FILTER = {"ids": ["a" * 64], "kinds": [1], "#t": ["x"], "since": 1, "limit": 5}
MESSAGES = [["EVENT", EVENT], ["REQ", "sub", FILTER, {}], ["CLOSE", "sub"]]
TEXTS = [json.dumps(message) for message in MESSAGES]

odd_json = st.sampled_from(
    [
        "null", "true", "false", "0", "-0", "-1", "1.0", "1e10", "1e400", "NaN", "-Infinity", "9" * 25, "9" * 5_000,
        '""', '"x"', '"\\ud800"', '"\\u0000"', '"\\uffff"', '"' + "a" * 64 + '"', '"' + "A" * 64 + '"',
        "[]", "{}", "[[]]", '{"id":"' + "b" * 64 + '"}', '{"":{}}', "[" * 2_000 + "]" * 2_000, '"EVENT"', '"REQ"',
    ]
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid message in which one or two values or names have become something else."""
    tokens = re.findall(r'"[^"]*"|[\w.]+|.', draw(st.sampled_from(TEXTS)))
    values = [place for place, token in enumerate(tokens) if token not in "[]{},: "]
    for _ in range(draw(st.integers(1, 2))):
        tokens[draw(st.sampled_from(values))] = draw(odd_json)
    return "".join(tokens).encode()


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid message from which bytes were cut, or into which some were put."""
    data = draw(st.sampled_from(TEXTS)).encode()
    start = draw(st.integers(0, len(data)))
    end = start + draw(st.integers(0, 3))
    return data[:start] + draw(st.text(max_size=2).map(str.encode) | st.binary(max_size=2)) + data[end:]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=3)
names = st.sampled_from(["EVENT", "REQ", "CLOSE", "id", "kind", "tags", "ids", "#t", "limit"]) | st.text(max_size=2)
trees = st.recursive(
    scalars | names, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=8
)


@given(st.binary() | st.text(st.characters(exclude_categories=["Cs"])).map(str.encode))
def test_any_bytes_are_answered(data: bytes) -> None:
    check(data)


@pytest.mark.slow
@given(st.lists(trees, max_size=4) | trees)
def test_any_json_is_answered(value: object) -> None:
    check(json.dumps(value).encode())


@pytest.mark.slow
@settings(max_examples=examples(500))
@given(mutated())
def test_a_message_with_strange_parts_is_read_or_answered(data: bytes) -> None:
    check(data)


@pytest.mark.slow
@settings(max_examples=examples(500))
@given(damaged())
def test_a_damaged_message_is_read_or_answered(data: bytes) -> None:
    check(data)


def check(data: bytes) -> None:
    check_message(data, parse(data, max_filters=MAX_FILTERS), MAX_FILTERS)
