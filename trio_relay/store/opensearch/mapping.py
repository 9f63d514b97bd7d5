"""The index: its version, its names, its fields and its settings. Pure.

The alias is all that a relay knows; behind it stands one index, whose name ends in the version of its layout.
"""

from __future__ import annotations

from typing import Any, Final

from trio_relay.store.opensearch.documents import Source
from trio_relay.store.opensearch.options import OpenSearchOptions

VERSION: Final = 2
"""To be raised with any change of `_PROPERTIES`, of the index sort or of what `documents` puts in."""

_KEYWORD: Final = {"type": "keyword"}
_PROPERTIES: Final[dict[str, Any]] = {
    "id": _KEYWORD,
    "pubkey": _KEYWORD,
    # A keyword, not a number: it is asked for by value alone, and lists of values are found faster so.
    "kind": _KEYWORD,
    "created_at": {"type": "long"},
    "arrived": {"type": "long"},
    "changed": {"type": "long"},
    "tags": _KEYWORD,
    "marks": _KEYWORD,
    # Words come parted by spaces, already in the form that they are searched in.
    "words": {"type": "text", "analyzer": "whitespace"},
    "grave": _KEYWORD,
    "event": {"type": "keyword", "index": False, "doc_values": False},
    "until": {"type": "long", "index": False, "doc_values": False},
    "expires": {"type": "long"},
    "vanished": _KEYWORD,
    "name": _KEYWORD,
    "value": {"type": "binary"},
}


def alias_of(options: OpenSearchOptions) -> str:
    """What relays read and write."""
    return f"{options.prefix}-events"


def index_of(options: OpenSearchOptions, version: int = VERSION) -> str:
    """The index of a version of the layout."""
    return f"{options.prefix}-events-v{version}"


def template(options: OpenSearchOptions) -> dict[str, Any]:
    """The body of `PUT _index_template/…`: how indices of this relay are made."""
    return {
        "index_patterns": [f"{options.prefix}-events-v*"],
        "template": layout(options),
        "_meta": {"version": VERSION},
    }


def layout(options: OpenSearchOptions) -> dict[str, Any]:
    """Settings and mappings of an index."""
    return {
        "settings": {
            "number_of_shards": options.shards,
            "number_of_replicas": options.replicas,
            # Newest first, lower ids first: a search in this order ends when it has enough.
            "sort.field": ["created_at", "id"],
            "sort.order": ["desc", "asc"],
            "translog.durability": options.durability,
            # Relays refresh what they have written; this is for who only reads.
            "refresh_interval": "30s",
        },
        "mappings": {
            "dynamic": "strict",
            "_meta": {"version": VERSION},
            "_source": {"includes": list(Source.__struct_encode_fields__)},
            "properties": _PROPERTIES,
        },
    }
