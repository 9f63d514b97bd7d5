"""Second decoding of a message that the fast decoder refuses: what is wrong, and which id the answer names.

The standard library's decoder takes lone surrogates, NaN and huge numbers, but is slow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from trio_relay.nostr.event import MAX_TIME
from trio_relay.nostr.kinds import MAX_KIND

MOST_BYTES: Final = 65_536
"""Most bytes that are decoded again: some milliseconds."""
SURROGATE: Final = re.compile("[\ud800-\udfff]")


def lenient(data: bytes) -> object:
    """Decode a message by the standard library, with lone surrogates, NaN and huge numbers.

    Returns:
        None if it cannot be read, or has more than `MOST_BYTES`.
    """
    if len(data) > MOST_BYTES:
        return None
    try:
        return _loads(data)
    except RecursionError:
        return None
    except ValueError:
        pass
    try:
        # Python refuses integers of more than 4,300 digits; cut short they are still out of every range.
        return _loads(data, parse_int=lambda digits: int(digits[:32]))
    except (ValueError, RecursionError):
        return None


def _loads(data: bytes, parse_int: Callable[[str], int] | None = None) -> object:
    value: object = json.loads(data, parse_int=parse_int)
    return value


def fault(event: dict[str, object]) -> str:
    """Say which field of a readable but refused event is wrong."""
    for name in ("id", "pubkey", "sig", "content"):
        text = event.get(name)
        if not isinstance(text, str):
            return f"{name} must be a string" if name in event else f"{name} is missing"
        if SURROGATE.search(text) is not None:
            return f"{name} holds a lone surrogate, which is no Unicode text"
    for name, most in (("kind", MAX_KIND), ("created_at", MAX_TIME)):
        number = event.get(name)
        if type(number) is not int or not 0 <= number <= most:
            return f"{name} must be an integer between 0 and {most}" if name in event else f"{name} is missing"
    return _tags_fault(event.get("tags")) or "the event holds something that JSON cannot carry"


def _tags_fault(tags: object) -> str | None:
    if not isinstance(tags, list) or not all(isinstance(tag, list) for tag in tags):
        return "tags must be a list of lists of strings"
    for item in (item for tag in tags for item in tag):
        if not isinstance(item, str):
            return "tags must be a list of lists of strings"
        if SURROGATE.search(item) is not None:
            return "tags hold a lone surrogate, which is no Unicode text"
    return None
