"""Numbers, times, keys and JSON as people read them (pure); templates have all of it as filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from trio_relay.nostr.event import is_hex64
from trio_relay.nostr.nip19 import npub_of

_UNITS: Final = ("B", "kB", "MB", "GB", "TB")
_STEP: Final = 1_000
_TIMES: Final = ((86_400, "d"), (3_600, "h"), (60, "min"))
_LAST_TIME: Final = 253_402_300_799
"""The end of the year 9999."""
_NOTHING: Final = "\N{EN DASH}"


def npub(pubkey: object) -> str:
    """A key as people pass it on (NIP-19), or the text itself where that is no key."""
    text = str(pubkey)
    return npub_of(text) if is_hex64(text) else text


def short(text: object, most: int = 20) -> str:
    """The beginning and the end of a long text, such as a key."""
    whole = str(text)
    half = most // 2
    return whole if len(whole) <= most else f"{whole[:half]}…{whole[-half + 1 :]}"


def moment(seconds: float) -> str:
    """A time since 1970 in UTC, as `2026-11-30 04:00:00`; the digits themselves where no calendar has it."""
    if not 0 <= seconds <= _LAST_TIME:
        return str(seconds)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def stamp(seconds: float) -> str:
    """The same as machines read it (RFC 3339)."""
    return f"{moment(seconds).replace(' ', 'T')}Z" if 0 <= seconds <= _LAST_TIME else ""


def count(number: float | None) -> str:
    """A number with its thousands apart, and of small ones that are not whole the first digits."""
    if number is None:
        return _NOTHING
    if number == int(number) or abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.2g}" if abs(number) < 1 else f"{number:.1f}"


def of(number: int, what: str) -> str:
    """So many of something: `1 event`, `2,000 events`."""
    return f"{number:,} {what if number == 1 else f'{what}s'}"


def size(number: float | None) -> str:
    """Bytes."""
    if number is None:
        return _NOTHING
    place = 0
    while number >= _STEP and place < len(_UNITS) - 1:
        number /= _STEP
        place += 1
    return f"{number:.1f} {_UNITS[place]}" if place and number < 100 else f"{number:,.0f} {_UNITS[place]}"


def lasting(seconds: float | None) -> str:
    """How long something takes or lasts: `840 µs`, `12 ms`, `3.4 s`, `2 h 5 min`."""
    if seconds is None:
        return _NOTHING
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs" if seconds > 0 else "0 s"
    if seconds < 1:
        return f"{seconds * 1_000:.3g} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    parts, left = [], int(seconds)
    for unit, name in _TIMES:
        if left >= unit:
            parts.append(f"{left // unit} {name}")
            left %= unit
    return " ".join(parts[:2])


def share(part: float | None) -> str:
    """A part of 1, in percent."""
    return _NOTHING if part is None else f"{part * 100:.3g} %"


def as_json(value: object) -> str:
    """A value as JSON in one line."""
    return msgspec.json.encode(value).decode()


def pretty(value: object) -> str:
    """The same over several lines."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


FORMS: Final[Mapping[str, Callable[[float | None], str]]] = {
    "count": count,
    "size": size,
    "lasting": lasting,
    "share": share,
}
"""How quantities are written, by name."""
FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    **FORMS,
    "npub": npub,
    "short": short,
    "moment": moment,
    "stamp": stamp,
    "of": of,
    "as_json": as_json,
    "pretty": pretty,
}
"""For templates, by name."""
