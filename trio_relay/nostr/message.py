"""Every message between client and relay: the only parser and the only encoder (NIP-01, NIP-45).

`parse` never fails on any input: for what cannot be read it returns the `RefusedMessage` that says so to the client. An
event is decoded by msgspec straight into its type; what that refuses is decoded again by the standard library's
lenient decoder, only to find the id that the answer should name and the field that was wrong. That is slow, so it is
done for short messages only; of long ones the two ends are searched for the id.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from trio_relay.frozen import Frozen
from trio_relay.nostr.errors import Prefix, Rejected, invalid
from trio_relay.nostr.event import Event, check_shape
from trio_relay.nostr.filter import Filter, parse_filter
from trio_relay.nostr.json_fallback import MOST_BYTES, SURROGATE, fault, lenient
from trio_relay.nostr.limits import MAX_SUB_ID_LENGTH, Limits
from trio_relay.nostr.message_bounds import LONG, MessageBounds


class Publish(Frozen, frozen=True):
    """`["EVENT", event]`: well-formed; id, limits and signature are still to be checked."""

    event: Event


class Subscribe(Frozen, frozen=True):
    """`["REQ", sub_id, filter, …]`."""

    sub_id: str
    filters: tuple[Filter, ...]


class Count(Frozen, frozen=True):
    """`["COUNT", sub_id, filter, …]` (NIP-45); its id has nothing to do with a subscription of the same id."""

    sub_id: str
    filters: tuple[Filter, ...]


class Unsubscribe(Frozen, frozen=True):
    """`["CLOSE", sub_id]`."""

    sub_id: str


class Authenticate(Frozen, frozen=True):
    """`["AUTH", event]` (NIP-42): well-formed; all else is still to be checked."""

    event: Event


class OpenSync(Frozen, frozen=True):
    """`["NEG-OPEN", sync_id, filter, hex]` (NIP-77); its id has nothing to do with a subscription of the same id."""

    sync_id: str
    filter: Filter
    message: bytes


class ContinueSync(Frozen, frozen=True):
    """`["NEG-MSG", sync_id, hex]`."""

    sync_id: str
    message: bytes


class CloseSync(Frozen, frozen=True):
    """`["NEG-CLOSE", sync_id]`."""

    sync_id: str


class RefusedMessage(Frozen, frozen=True):
    """A message that is refused: the answer to send, and the subscription or sync that ends by it, if any."""

    message: bytes
    ends: str | None = None
    ends_sync: str | None = None


ClientMessage: TypeAlias = (
    Publish | Subscribe | Count | Unsubscribe | Authenticate | OpenSync | ContinueSync | CloseSync | RefusedMessage
)

encode: Final = msgspec.json.Encoder().encode


def ok(event_id: str, accepted: bool, reason: str = "") -> bytes:
    """`["OK", id, accepted, reason]`; the reason is empty or starts with a `Prefix`."""
    return encode(("OK", event_id, accepted, reason))


FINISH: Final = "finish"
"""Everything stored that matches has been sent (NIP-67)."""
MORE: Final = "more"
"""More is stored than was sent (NIP-67)."""


def eose(sub_id: str, hint: str | None = None) -> bytes:
    """`["EOSE", sub_id, [hint]]`: the stored events have been sent; no hint where it is unknown (NIP-67)."""
    return encode(("EOSE", sub_id) if hint is None else ("EOSE", sub_id, (hint,)))


def counted(sub_id: str, number: int, registers: bytes | None = None) -> bytes:
    """`["COUNT", sub_id, {"count": number, "hll": hex}]`; without `hll` where there are no registers (NIP-45)."""
    answer: dict[str, int | str] = {"count": number}
    if registers is not None:
        answer["hll"] = registers.hex()
    return encode(("COUNT", sub_id, answer))


def challenged(challenge: str) -> bytes:
    """`["AUTH", challenge]` (NIP-42)."""
    return encode(("AUTH", challenge))


def sync_message(sync_id: str, message: bytes) -> bytes:
    """`["NEG-MSG", sync_id, hex]` (NIP-77)."""
    return encode(("NEG-MSG", sync_id, message.hex()))


def sync_error(sync_id: str, reason: str, most: int | None = None) -> bytes:
    """`["NEG-ERR", sync_id, reason]`: the session is over; with `most`, how many events it could have had (NIP-77)."""
    return encode(("NEG-ERR", sync_id, reason) if most is None else ("NEG-ERR", sync_id, reason, most))


def closed(sub_id: str, reason: str) -> bytes:
    """`["CLOSED", sub_id, reason]`: the subscription has ended, or never began."""
    return encode(("CLOSED", sub_id, reason))


def notice(text: str) -> bytes:
    """`["NOTICE", text]`: for humans, where no id can carry the answer."""
    return encode(("NOTICE", text))


def event_head(sub_id: str) -> bytes:
    """Return what precedes the event's JSON in `["EVENT", sub_id, event]`; a `]` follows it."""
    return b'["EVENT",' + encode(sub_id) + b","


_decode_auth = msgspec.json.Decoder(tuple[Literal["AUTH"], Event]).decode
_decode_event = msgspec.json.Decoder(tuple[Literal["EVENT"], Event]).decode
_decode_any = msgspec.json.Decoder(list[object]).decode
_EVENT_START: Final = re.compile(rb'\s{0,64}\[\s{0,64}"(?:EVENT|(AUTH))"')
_BLANKS: Final = frozenset((b" ", b"\t", b"\n", b"\r"))
_HEX_ID: Final = re.compile("[0-9a-fA-F]{64}")
_AN_END: Final = 1_024
"""Bytes at each end of a long message that are searched for what its answer can name."""
_OPENING: Final = re.compile(
    rb'\s*\[\s*"(EVENT|AUTH|REQ|COUNT|NEG-OPEN)"\s*,\s*(?:"([^"\\]{1,%d})")?' % MAX_SUB_ID_LENGTH
)
_NAMED_ID: Final = re.compile(rb'"id"\s*:\s*"([0-9a-fA-F]{64})"')  # in a string its quotes would be escaped
_AT_FIELD: Final = re.compile(r"`\$\[1\]\.(\w+)|missing required field `(\w+)`")
_DEFAULT_BOUNDS: Final = MessageBounds.of(Limits())


ReadFilter: TypeAlias = Callable[[object], Filter]
"""Makes a filter of a decoded JSON value, as `parse_filter` does, or raises `Rejected`."""


def parse(
    data: bytes, *, max_filters: int, read_filter: ReadFilter = parse_filter, bounds: MessageBounds = _DEFAULT_BOUNDS
) -> ClientMessage:
    """Parse one message of a client, UTF-8, into what it asks for.

    Any bytes may come in; for what is no valid message a `RefusedMessage` says why.

    Args:
        data: the message.
        max_filters: of one REQ or COUNT.
        read_filter: `parse_filter`, with what the relay is set to.
        bounds: what a long message may hold.
    """
    opening = _EVENT_START.match(data)
    if opening is None and data[:1] in _BLANKS:
        data = data.lstrip(b" \t\n\r")
        opening = _EVENT_START.match(data)
    if len(data) > LONG and (excess := (bounds.requests if opening is None else bounds.events).excess(data)):
        return _refuse_unread(data, excess)
    if opening is not None:
        return _parse_event(data) if opening.lastindex is None else _parse_auth(data)
    try:
        array = _decode_any(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return _second_reading(data, error)
    verb = array[0] if array else None
    if verb == "EVENT":  # its letters can be spelt as escapes, which the pattern does not see
        return _parse_event(data)
    if verb == "AUTH":
        return _parse_auth(data)
    return _parse_request(array, max_filters, read_filter)


def _parse_auth(data: bytes) -> Authenticate | RefusedMessage:
    read = _parse_event(data, _decode_auth)
    return Authenticate(read.event) if isinstance(read, Publish) else read


def _parse_event(data: bytes, decode: Callable[[bytes], tuple[str, Event]] = _decode_event) -> Publish | RefusedMessage:
    try:
        _, event = decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return _second_reading(data, error)
    if (fault := check_shape(event)) is not None:
        return _refusal(event.id, fault)
    return Publish(event)


def _parse_request(array: list[object], max_filters: int, read_filter: ReadFilter) -> ClientMessage:
    if len(array) > 1 and array[0] == "REQ" and isinstance(sub_id := array[1], str):
        return _parse_req(
            sub_id, array[2:], max_filters, read_filter
        )  # the most common message: a third of the time that `match` takes
    match array:
        case ["CLOSE", str() as sub_id]:
            return Unsubscribe(sub_id)
        case ["COUNT", str() as sub_id, *filters]:
            return _parse_count(sub_id, filters, max_filters, read_filter)
        case ["NEG-OPEN", str() as sync_id, source, str() as text]:
            return _parse_sync(sync_id, source, text, read_filter)
        case ["NEG-MSG", str() as sync_id, str() as text]:
            message = _from_hex(text)
            return refuse_sync(sync_id, _NOT_HEX) if message is None else ContinueSync(sync_id, message)
        case ["NEG-CLOSE", str() as sync_id]:
            return CloseSync(sync_id)
        case ["NEG-OPEN" | "NEG-MSG" | "NEG-CLOSE" as verb, str() as sync_id, *_]:
            return refuse_sync(sync_id, f"{Prefix.INVALID}: {verb} is not of the form that NIP-77 gives it")
        case ["REQ" | "COUNT" | "CLOSE" as verb, *_]:
            return _notice(f"{verb} needs a subscription id, a string")
        case [str() as verb, *_]:
            return _notice(f"unknown verb {verb[:32]!r}")
        case _:
            return _notice("a message is an array that starts with its verb")


def _parse_req(
    sub_id: str, filters: list[object], max_filters: int, read_filter: ReadFilter
) -> Subscribe | RefusedMessage:
    try:
        return Subscribe(sub_id, _parse_filters("REQ", sub_id, filters, max_filters, read_filter))
    except Rejected as refusal:
        return close(sub_id, str(refusal))


def _parse_count(
    sub_id: str, filters: list[object], max_filters: int, read_filter: ReadFilter
) -> Count | RefusedMessage:
    try:
        return Count(sub_id, _parse_filters("COUNT", sub_id, filters, max_filters, read_filter))
    except Rejected as refusal:
        return refuse_count(sub_id, str(refusal))


def _parse_sync(sync_id: str, source: object, text: str, read_filter: ReadFilter) -> OpenSync | RefusedMessage:
    if (message := _from_hex(text)) is None:
        return refuse_sync(sync_id, _NOT_HEX)
    if isinstance(source, list) and len(source) == 1:
        (source,) = source  # NDK's package sends a list of filters, and takes a refusal for an empty relay
    try:
        (filter_,) = _parse_filters("NEG-OPEN", sync_id, [source], 1, read_filter)
    except Rejected as refusal:
        return refuse_sync(sync_id, str(refusal))
    return OpenSync(sync_id, filter_, message)


_NOT_HEX: Final = f"{Prefix.INVALID}: the message is not hex"


def _from_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text) if " " not in text else None
    except ValueError:
        return None


def _parse_filters(
    verb: str, sub_id: str, filters: list[object], max_filters: int, read_filter: ReadFilter
) -> tuple[Filter, ...]:
    if not 1 <= len(sub_id) <= MAX_SUB_ID_LENGTH:
        raise invalid(f"a subscription id has 1 to {MAX_SUB_ID_LENGTH} characters")
    if not filters:
        raise invalid(f"{verb} needs at least one filter")
    if len(filters) > max_filters:
        raise Rejected(Prefix.ERROR, f"at most {max_filters} filters in a {verb} (max_filters)")
    return tuple(map(read_filter, filters))


def _second_reading(data: bytes, error: Exception) -> RefusedMessage:
    """Refuse what the fast decoder could not read, by the id of the event or subscription if it names one."""
    if len(data) > MOST_BYTES:
        return _refuse_unread(data, _told_by(error))
    match lenient(data):
        case ["EVENT" | "AUTH", dict() as event]:
            return _refusal(event.get("id"), fault(event))
        case ["EVENT" | "AUTH" as verb, dict() as event, *_]:
            return _refusal(event.get("id"), f"{verb} takes one event and nothing else")
        case ["EVENT" | "AUTH" as verb, *_]:
            return _notice(f"{verb} takes an event, an object")
        case ["REQ", str() as sub_id, *_] if SURROGATE.search(sub_id) is None:
            return close(sub_id, f"{Prefix.INVALID}: the filters are not valid JSON")
        case ["COUNT", str() as sub_id, *_] if SURROGATE.search(sub_id) is None:
            return refuse_count(sub_id, f"{Prefix.INVALID}: the filters are not valid JSON")
        case ["NEG-OPEN", str() as sync_id, *_] if SURROGATE.search(sync_id) is None:
            return refuse_sync(sync_id, f"{Prefix.INVALID}: the filter is not valid JSON")
        case list():
            return _notice("the message holds text or numbers that JSON cannot carry")
        case _:
            return _notice("not a JSON array that can be read")


def _told_by(error: Exception) -> str:
    """Return what the fast decoder tells of a message that is too long to be read again."""
    field = _AT_FIELD.search(str(error)) if isinstance(error, msgspec.ValidationError) else None
    if field is None:
        return "the message is not valid JSON of the form that its verb needs"
    return f"{field[1]} is not of the form that NIP-01 gives it" if field[1] else f"{field[2]} is missing"


def _refuse_unread(data: bytes, reason: str) -> RefusedMessage:
    """Refuse a long message by the id that stands at one of its ends, if any does; nothing between is looked at."""
    opening = _OPENING.match(data[:_AN_END])
    verb, sub_id = ("", None) if opening is None else (opening[1].decode(), opening[2])
    if verb in ("EVENT", "AUTH"):
        found = _NAMED_ID.search(data[:_AN_END]) or _NAMED_ID.search(data[-_AN_END:])
        return _refusal(None if found is None else found[1].decode(), reason)
    if sub_id is None:
        return _notice(reason)
    refuse = {"REQ": close, "COUNT": refuse_count, "NEG-OPEN": refuse_sync}[verb]
    return refuse(sub_id.decode(errors="replace"), f"{Prefix.INVALID}: {reason}")


def close(sub_id: str, reason: str) -> RefusedMessage:
    """Refuse a REQ; its id is closed, including a subscription that it would have replaced."""
    return RefusedMessage(closed(sub_id, reason), ends=sub_id)


def refuse_count(sub_id: str, reason: str) -> RefusedMessage:
    """Refuse a COUNT (NIP-45): CLOSED too, but a subscription of the same id goes on."""
    return RefusedMessage(closed(sub_id, reason))


def refuse_sync(sync_id: str, reason: str) -> RefusedMessage:
    """Refuse a NEG-OPEN or a NEG-MSG (NIP-77); a session of that id ends."""
    return RefusedMessage(sync_error(sync_id, reason), ends_sync=sync_id)


def _refusal(event_id: object, fault: str) -> RefusedMessage:
    if isinstance(event_id, str) and _HEX_ID.fullmatch(event_id) is not None:
        return RefusedMessage(ok(event_id, False, f"{Prefix.INVALID}: {fault}"))
    return _notice(fault)


def _notice(text: str) -> RefusedMessage:
    # A lone surrogate in what the client sent must not break the answer to it.
    return RefusedMessage(notice(f"{Prefix.INVALID}: {text.encode(errors='replace').decode()}"))
