"""The index as it is made: names, settings and fields."""

from __future__ import annotations

import re

import msgspec
import pytest

from trio_relay import OpenSearchOptions
from trio_relay.store.opensearch.documents import Document, StoredPart
from trio_relay.store.opensearch.mapping import VERSION, alias_of, index_of, layout, template
from trio_relay.store.opensearch.query import NEWEST_FIRST
from trio_relay.store.opensearch.scan import _IN_ORDER

OPTIONS = OpenSearchOptions(prefix="some", shards=3, replicas=2, durability="async")
MADE = layout(OPTIONS)
FIELDS = MADE["mappings"]["properties"]


def test_the_alias_names_no_version_and_each_index_its_own() -> None:
    assert alias_of(OPTIONS) == "some-events"
    assert (index_of(OPTIONS), index_of(OPTIONS, 7)) == (f"some-events-v{VERSION}", "some-events-v7")


def test_the_template_is_of_all_versions_and_of_no_other_relays_index() -> None:
    made = template(OPTIONS)
    assert made == {"index_patterns": ["some-events-v*"], "template": MADE, "_meta": {"version": VERSION}}
    (pattern,) = made["index_patterns"]
    matches = re.compile(pattern.replace("*", ".*")).fullmatch
    others = [alias_of(OPTIONS), index_of(OpenSearchOptions(prefix="some-other")), index_of(OpenSearchOptions())]
    assert (bool(matches(index_of(OPTIONS, 12))), [name for name in others if matches(name)]) == (True, [])


def test_shards_copies_and_durability_are_the_operators_and_the_order_is_that_of_answers() -> None:
    assert MADE["settings"] == {
        "number_of_shards": 3,
        "number_of_replicas": 2,
        "sort.field": ["created_at", "id"],
        "sort.order": ["desc", "asc"],
        "translog.durability": "async",
        "refresh_interval": "30s",
    }
    sorted_by = zip(MADE["settings"]["sort.field"], MADE["settings"]["sort.order"], strict=True)
    assert [{name: order} for name, order in sorted_by] == NEWEST_FIRST


def test_the_index_takes_what_a_document_has_and_nothing_else() -> None:
    assert MADE["mappings"]["dynamic"] == "strict"
    assert set(FIELDS) == set(Document.__struct_encode_fields__)
    assert MADE["mappings"]["_meta"] == {"version": VERSION}


def test_what_is_read_back_is_stored_and_what_is_only_found_by_is_not() -> None:
    assert MADE["mappings"]["_source"] == {"includes": list(StoredPart.__struct_encode_fields__)}
    assert set(StoredPart.__struct_encode_fields__) <= set(Document.__struct_encode_fields__)
    assert not {"tags", "words", "marks"} & set(StoredPart.__struct_encode_fields__)


@pytest.mark.parametrize("order", [NEWEST_FIRST, _IN_ORDER], ids=["answers", "scans"])
def test_what_answers_are_sorted_by_has_doc_values(order: list[dict[str, str]]) -> None:
    for name in (name for part in order for name in part):
        assert FIELDS[name]["type"] in ("keyword", "long")
        assert FIELDS[name].get("doc_values", True), name


def test_the_event_itself_is_not_indexed() -> None:
    """Lucene refuses a term of more than 32,766 bytes, and an event may be longer."""
    assert FIELDS["event"] == {"type": "keyword", "index": False, "doc_values": False}


def test_the_layout_is_the_one_whose_version_it_has() -> None:
    """Whoever changes this raises `VERSION`, and then this."""
    assert VERSION == 3
    assert msgspec.json.encode(sorted((name, sorted(field.items())) for name, field in FIELDS.items())) == (
        msgspec.json.encode(
            [
                ["arrived", [["type", "long"]]],
                ["changed", [["type", "long"]]],
                ["created_at", [["type", "long"]]],
                ["event", [["doc_values", False], ["index", False], ["type", "keyword"]]],
                ["expires", [["type", "long"]]],
                ["grave", [["type", "keyword"]]],
                ["id", [["type", "keyword"]]],
                ["kind", [["type", "keyword"]]],
                ["marks", [["type", "keyword"]]],
                ["name", [["type", "keyword"]]],
                ["pubkey", [["type", "keyword"]]],
                ["tags", [["type", "keyword"]]],
                ["until", [["doc_values", False], ["index", False], ["type", "long"]]],
                ["value", [["type", "binary"]]],
                ["vanished", [["type", "keyword"]]],
                ["words", [["analyzer", "whitespace"], ["type", "text"]]],
            ]
        )
    )
