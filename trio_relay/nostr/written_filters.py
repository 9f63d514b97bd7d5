"""Filters as operators write them: NIP-01's JSON, whose ids and keys may stand as people copy them (NIP-19). Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from trio_relay.nostr.errors import invalid
from trio_relay.nostr.event import MAX_TIME
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.nip19 import event_id_of, pubkey_of

_SPELLINGS: Final[dict[str, Callable[[str], str]]] = {
    "ids": event_id_of,
    "authors": pubkey_of,
    "#e": event_id_of,
    "#p": pubkey_of,
}
"""How the values of these keys are read."""


def filters_in(text: str) -> list[Any]:
    """The decoded filters of a text: one, a list of them, or one a line.

    Raises:
        Rejected: it holds none, or something else.
    """
    try:
        found = list(_values(text))
    except (ValueError, RecursionError):
        raise invalid('a filter must be JSON, such as {"kinds":[1]}') from None
    filters = [one for value in found for one in (value if isinstance(value, list) else [value])]
    if not filters or not all(isinstance(one, dict) for one in filters):
        raise invalid('a filter must be an object, such as {"kinds":[1]}')
    return filters


def _values(text: str) -> Iterator[Any]:
    decoder = json.JSONDecoder()
    text = text.strip()
    while text:
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:].lstrip()


def read_filters(sources: object, prefix: int = 0) -> list[Filter]:
    """Turn decoded filters into those that a store is asked.

    Args:
        sources: a list of what may be filters.
        prefix: letters of which a search's last word may be the beginning of another; see `parse_search`.

    Raises:
        Rejected: there is none, or what is wrong with one.
    """
    if not isinstance(sources, list) or not sources:
        raise invalid("filters must be a list of at least one")
    return [parse_filter(_spelled_out(source), all_of=True, prefix=prefix) for source in sources]


def is_everything(filter_: Filter) -> bool:
    """True if a filter asks for all events there can be: it names nothing that one could lack."""
    names_none = filter_.ids is None and filter_.authors is None and filter_.kinds is None and not filter_.tags
    is_open = not filter_.since and (filter_.until is None or filter_.until >= MAX_TIME)
    return names_none and is_open and filter_.search is None


def _spelled_out(source: object) -> object:
    if not isinstance(source, dict):
        return source
    return {key: _spelled(key, value) for key, value in source.items()}


def _spelled(key: object, value: object) -> object:
    read = _SPELLINGS.get(str(key))
    if read is None or not isinstance(value, list):
        return value
    try:
        return [read(one) if isinstance(one, str) else one for one in value]
    except ValueError as error:
        raise invalid(f"{key}: {error}") from None
