"""Every message between client and relay: the only parser and the only encoder (NIP-01, NIP-45).

`parse` never fails on any input: what cannot be read comes back as the `Answer` that tells the client so. An event is
decoded by msgspec straight into its type; what that refuses is read once more by the standard library's lenient
decoder, only to find the id that the answer should carry and the field that was wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.nostr.event import MAX_KIND, MAX_TIME, Event, check_shape
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.limits import MAX_SUB_ID_LENGTH


class Publish(msgspec.Struct, frozen=True, gc=False):
    """`["EVENT", event]`: well-formed; id, limits and signature are still to be checked."""

    event: Event


class Subscribe(msgspec.Struct, frozen=True, gc=False):
    """`["REQ", sub_id, filter, …]`."""

    sub_id: str
    filters: tuple[Filter, ...]


class Count(msgspec.Struct, frozen=True, gc=False):
    """`["COUNT", sub_id, filter, …]` (NIP-45); its id has nothing to do with a subscription of the same id."""

    sub_id: str
    filters: tuple[Filter, ...]


class Unsubscribe(msgspec.Struct, frozen=True, gc=False):
    """`["CLOSE", sub_id]`."""

    sub_id: str


class Answer(msgspec.Struct, frozen=True, gc=False):
    """Nothing to do but to send this message back, and to end the subscription that it says is closed, if any."""

    message: bytes
    ends: str | None = None


ClientMessage: TypeAlias = Publish | Subscribe | Count | Unsubscribe | Answer

encode: Final = msgspec.json.Encoder().encode


def ok(event_id: str, accepted: bool, reason: str = "") -> bytes:
    """`["OK", id, accepted, reason]`; the reason is empty or starts with a `Prefix`."""
    return encode(("OK", event_id, accepted, reason))


def eose(sub_id: str) -> bytes:
    """`["EOSE", sub_id]`: all stored events have been sent."""
    return encode(("EOSE", sub_id))


def counted(sub_id: str, number: int) -> bytes:
    """`["COUNT", sub_id, {"count": number}]`."""
    return encode(("COUNT", sub_id, {"count": number}))


def closed(sub_id: str, reason: str) -> bytes:
    """`["CLOSED", sub_id, reason]`: the subscription has ended, or never began."""
    return encode(("CLOSED", sub_id, reason))


def notice(text: str) -> bytes:
    """`["NOTICE", text]`: for humans, where no id can carry the answer."""
    return encode(("NOTICE", text))


def event_head(sub_id: str) -> bytes:
    """What stands before the event's JSON in `["EVENT", sub_id, event]`; a `]` follows it."""
    return b'["EVENT",' + encode(sub_id) + b","


_decode_event = msgspec.json.Decoder(tuple[Literal["EVENT"], Event]).decode
_decode_any = msgspec.json.Decoder(list[object]).decode
_EVENT_START: Final = re.compile(rb'\s*\[\s*"EVENT"')
_MOST_LENIENT: Final = 65_536
"""Bytes that are read again at Python's own pace; a longer message with such numbers is no event of anybody's."""
_HEX_ID: Final = re.compile("[0-9a-fA-F]{64}")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def parse(data: bytes, *, max_filters: int) -> ClientMessage:
    """One message of a client, UTF-8, to what it asks for.

    Anything at all may come in; what is not a message of NIP-01 comes back as an `Answer` that says why.
    """
    if _EVENT_START.match(data) is not None:
        return _parse_event(data)
    try:
        array = _decode_any(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _second_reading(data)
    if array[:1] == ["EVENT"]:  # its letters can be spelt as escapes, which the pattern does not see
        return _parse_event(data)
    return _parse_request(array, max_filters)


def _parse_event(data: bytes) -> Publish | Answer:
    try:
        _, event = _decode_event(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _second_reading(data)
    if (fault := check_shape(event)) is not None:
        return _refusal(event.id, fault)
    return Publish(event)


def _parse_request(array: list[object], max_filters: int) -> ClientMessage:
    if len(array) > 1 and array[0] == "REQ" and isinstance(sub_id := array[1], str):
        return _parse_req(sub_id, array[2:], max_filters)  # a third of what a pattern takes, for the most usual one
    match array:
        case ["CLOSE", str() as sub_id]:
            return Unsubscribe(sub_id)
        case ["COUNT", str() as sub_id, *filters]:
            return _parse_count(sub_id, filters, max_filters)
        case ["REQ" | "COUNT" | "CLOSE" as verb, *_]:
            return _notice(f"{verb} needs a subscription id, a string")
        case [str() as verb, *_]:
            return _notice(f"unknown verb {verb[:32]!r}")
        case _:
            return _notice("a message is an array that starts with its verb")


def _parse_req(sub_id: str, filters: list[object], max_filters: int) -> Subscribe | Answer:
    try:
        return Subscribe(sub_id, _parse_filters("REQ", sub_id, filters, max_filters))
    except Rejected as refusal:
        return close(sub_id, str(refusal))


def _parse_count(sub_id: str, filters: list[object], max_filters: int) -> Count | Answer:
    try:
        return Count(sub_id, _parse_filters("COUNT", sub_id, filters, max_filters))
    except Rejected as refusal:
        return refuse_count(sub_id, str(refusal))


def _parse_filters(verb: str, sub_id: str, filters: list[object], max_filters: int) -> tuple[Filter, ...]:
    if not 1 <= len(sub_id) <= MAX_SUB_ID_LENGTH:
        raise invalid(f"a subscription id has 1 to {MAX_SUB_ID_LENGTH} characters")
    if not filters:
        raise invalid(f"{verb} needs at least one filter")
    if len(filters) > max_filters:
        raise Rejected(Prefix.ERROR, f"at most {max_filters} filters in a {verb} (max_filters)")
    return tuple(map(parse_filter, filters))


def _second_reading(data: bytes) -> Answer:
    """What the fast decoder refuses may still name the event or the subscription that it spoke of."""
    match _lenient(data):
        case ["EVENT", dict() as event]:
            return _refusal(event.get("id"), _fault(event))
        case ["EVENT", dict() as event, *_]:
            return _refusal(event.get("id"), "EVENT takes one event and nothing else")
        case ["EVENT", *_]:
            return _notice("EVENT takes an event, an object")
        case ["REQ", str() as sub_id, *_] if _SURROGATE.search(sub_id) is None:
            return close(sub_id, "invalid: the filters are not valid JSON")
        case ["COUNT", str() as sub_id, *_] if _SURROGATE.search(sub_id) is None:
            return refuse_count(sub_id, "invalid: the filters are not valid JSON")
        case list():
            return _notice("the message holds text or numbers that JSON cannot carry")
        case _:
            return _notice("not a JSON array that can be read")


def close(sub_id: str, reason: str) -> Answer:
    """Refuse a REQ; the id is closed then, also for the subscription that it would have replaced."""
    return Answer(closed(sub_id, reason), ends=sub_id)


def refuse_count(sub_id: str, reason: str) -> Answer:
    """Refuse a COUNT (NIP-45): CLOSED too, but a subscription of the same id goes on."""
    return Answer(closed(sub_id, reason))


def _refusal(event_id: object, fault: str) -> Answer:
    if isinstance(event_id, str) and _HEX_ID.fullmatch(event_id) is not None:
        return Answer(ok(event_id, False, f"invalid: {fault}"))
    return _notice(fault)


def _notice(text: str) -> Answer:
    # A lone surrogate in what the client sent must not break the answer to it.
    return Answer(notice(f"invalid: {text.encode(errors='replace').decode()}"))


def _lenient(data: bytes) -> object:
    """The message as the standard library reads it, lone surrogates, NaN and huge numbers included; else None."""
    try:
        return _loads(data)
    except RecursionError:
        return None
    except ValueError:
        if len(data) > _MOST_LENIENT:
            return None
    try:
        # An integer of more than 4,300 digits fails; one cut short is as far out of every range.
        return _loads(data, parse_int=lambda digits: int(digits[:32]))
    except (ValueError, RecursionError):
        return None


def _loads(data: bytes, parse_int: Callable[[str], int] | None = None) -> object:
    value: object = json.loads(data, parse_int=parse_int)
    return value


def _fault(event: dict[str, object]) -> str:
    """Which field of a readable but refused event is to blame."""
    for name in ("id", "pubkey", "sig", "content"):
        text = event.get(name)
        if not isinstance(text, str):
            return f"{name} must be a string" if name in event else f"{name} is missing"
        if _SURROGATE.search(text) is not None:
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
        if _SURROGATE.search(item) is not None:
            return "tags hold a lone surrogate, which is no Unicode text"
    return None
