"""The index of the original relay on a node: its mapping, and its documents as that relay makes them of events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import httpx
import msgspec

from trio_relay import Event

TAGS = ("e", "p", "a", "d", "t", "r", "g")
"""Those that have a field of their own; all others lie nested."""
MAPPING: dict[str, Any] = {
    "settings": {"number_of_shards": 3, "number_of_replicas": 0, "refresh_interval": "5s"},
    "mappings": {
        "dynamic": "strict",
        "properties": {
            **{name: {"type": "keyword"} for name in ("id", "pubkey", "sig", "tags", *(f"tag_{tag}" for tag in TAGS))},
            **{name: {"type": "long"} for name in ("created_at", "indexed_at")},
            "kind": {"type": "integer"},
            "content": {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}},
            "tags_flat": {"type": "nested", "properties": {it: {"type": "keyword"} for it in ("name", "value")}},
        },
    },
}


def make(url: str, index: str, events: Iterable[Event]) -> str:
    """Make an index with these events, ready to be searched; returns its URL."""
    with httpx.Client(base_url=url, timeout=60.0) as node:
        node.put(f"/{index}", json=MAPPING).raise_for_status()
        lines = [line for event in events for line in ({"index": {"_id": event.id}}, document(event))]
        if lines:
            body = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
            answer = node.post(f"/{index}/_bulk", content=body, headers={"content-type": "application/x-ndjson"})
            assert not answer.raise_for_status().json()["errors"], answer.text
        node.post(f"/{index}/_refresh").raise_for_status()
    return f"{url}/{index}"


def document(event: Event) -> dict[str, Any]:
    """An event, and what is made of it for filters."""
    pairs = [tag for tag in event.tags if len(tag) > 1]
    own = {f"tag_{name}": [tag[1] for tag in pairs if tag[0] == name] for name in TAGS}
    others = [{"name": tag[0], "value": tag[1]} for tag in pairs if tag[0] not in TAGS]
    fields = {name: values for name, values in {**own, "tags_flat": others}.items() if values}
    return {**msgspec.to_builtins(event), "indexed_at": event.created_at, **fields}
