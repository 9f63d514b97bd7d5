"""The layout of the index: its version, names, fields and settings. Pure.

Relays use the alias only; it names one index, whose own name ends in the version of its layout.
"""

from __future__ import annotations

from typing import Any, Final

from trio_relay.store.opensearch.documents import StoredPart
from trio_relay.store.opensearch.options import OpenSearchOptions

VERSION: Final = 3
"""The version of the layout; raise it with any change of `_PROPERTIES`, the index sort or the documents' content."""

_KEYWORD: Final = {"type": "keyword"}
_PROPERTIES: Final[dict[str, Any]] = {
    "id": _KEYWORD,
    "pubkey": _KEYWORD,
    # A keyword, not a number: only equality is asked for, and lists of keywords are found faster.
    "kind": _KEYWORD,
    "created_at": {"type": "long"},
    "arrived": {"type": "long"},
    "changed": {"type": "long"},
    "tags": _KEYWORD,
    "marks": _KEYWORD,
    # Words come separated by spaces, already in the form in which they are searched.
    "words": {"type": "text", "analyzer": "whitespace"},
    "grave": _KEYWORD,
    "event": {"type": "keyword", "index": False, "doc_values": False},
    "until": {"type": "long", "index": False, "doc_values": False},
    "expires": {"type": "long"},
    "vanished": _KEYWORD,
    "name": _KEYWORD,
    "value": {"type": "binary"},
}


_ARCHIVED: Final[dict[str, Any]] = {
    "at": {"type": "long"},
    "reason": _KEYWORD,
    "cause": _KEYWORD,
}
"""What documents of the archive have beyond those."""
ARCHIVE_VERSION: Final = 1
"""The version of the archive's layout."""


def archive_alias_of(options: OpenSearchOptions) -> str:
    """Return the name of the archive that relays read and write."""
    return f"{options.prefix}-archive"


def archive_index_of(options: OpenSearchOptions) -> str:
    """Return the name of the archive's index."""
    return f"{options.prefix}-archive-v{ARCHIVE_VERSION}"


def archive_layout(options: OpenSearchOptions) -> dict[str, Any]:
    """Make settings, mappings and the alias of the archive's index: what went last first."""
    settings = layout(options)["settings"] | {"sort.field": "arrived", "sort.order": "desc"}
    return {
        "settings": settings,
        "mappings": {
            "dynamic": "strict",
            "_meta": {"version": ARCHIVE_VERSION},
            "_source": {"includes": ["event", *_ARCHIVED]},
            "properties": _PROPERTIES | _ARCHIVED,
        },
        "aliases": {archive_alias_of(options): {}},
    }


def alias_of(options: OpenSearchOptions) -> str:
    """Return the name that relays read and write."""
    return f"{options.prefix}-events"


def index_of(options: OpenSearchOptions, version: int = VERSION) -> str:
    """Return the name of the index of a version of the layout."""
    return f"{options.prefix}-events-v{version}"


def template(options: OpenSearchOptions) -> dict[str, Any]:
    """Make the body of `PUT _index_template/…`, by which indices of this relay are made."""
    return {
        "index_patterns": [f"{options.prefix}-events-v*"],
        "template": layout(options),
        "_meta": {"version": VERSION},
    }


def layout(options: OpenSearchOptions) -> dict[str, Any]:
    """Make settings and mappings of an index."""
    return {
        "settings": {
            "number_of_shards": options.shards,
            "number_of_replicas": options.replicas,
            # Newest first, lower ids first: a search in this order stops when it has enough.
            "sort.field": ["created_at", "id"],
            "sort.order": ["desc", "asc"],
            "translog.durability": options.durability,
            # Relays refresh after their own writes; this interval is for relays that only read.
            "refresh_interval": "30s",
        },
        "mappings": {
            "dynamic": "strict",
            "_meta": {"version": VERSION},
            "_source": {"includes": list(StoredPart.__struct_encode_fields__)},
            "properties": _PROPERTIES,
        },
    }
