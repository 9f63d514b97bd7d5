"""Every message between this relay as a client and another relay: the only reader, and the only writer (NIP-01, 42, 45,
77).

`read` never fails on any input: what cannot be read becomes `Nonsense`, which says why. Nothing here is trusted yet: an
event has the right shape, but whether it was asked for, and whether its id and signature are right, is seen elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from trio_relay.frozen import Frozen
from trio_relay.nostr.errors import Prefix
from trio_relay.nostr.event import Event, check_shape
from trio_relay.nostr.limits import Limits
from trio_relay.nostr.message_bounds import LONG, MessageBounds

FilterJson: TypeAlias = Mapping[str, object]
"""A filter as it is sent."""

MOST_REASON: Final = 200
"""Characters of what another relay says that are kept: it can say as much as it likes."""
_NEAR: Final = 24
"""Characters in which the word of a refusal has to stand."""


class Delivery(Frozen, frozen=True):
    """`["EVENT", sub_id, event]`; `size` is the length of the message."""

    sub_id: str
    event: Event
    size: int


class Receipt(Frozen, frozen=True):
    """`["OK", event_id, accepted, reason]`."""

    event_id: str
    accepted: bool
    reason: str = ""


class StoredEnd(Frozen, frozen=True):
    """`["EOSE", sub_id, [hint]]`: what is stored has been sent; `is_whole` is what the hint says (NIP-67), if any."""

    sub_id: str
    is_whole: bool | None = None


class Ending(Frozen, frozen=True):
    """`["CLOSED", sub_id, reason]`."""

    sub_id: str
    reason: str


class Total(Frozen, frozen=True):
    """`["COUNT", sub_id, {"count": number, "approximate": false}]` (NIP-45)."""

    sub_id: str
    number: int
    is_approximate: bool = False


class Challenge(Frozen, frozen=True):
    """`["AUTH", text]` (NIP-42)."""

    text: str


class SyncReply(Frozen, frozen=True):
    """`["NEG-MSG", sync_id, hex]` (NIP-77)."""

    sync_id: str
    message: bytes


class SyncRefusal(Frozen, frozen=True):
    """`["NEG-ERR", sync_id, reason, most]`: the sync is over; `most` is how many events it could have had, if told."""

    sync_id: str
    reason: str
    most: int | None = None


class Remark(Frozen, frozen=True):
    """`["NOTICE", text]`."""

    text: str


class Nonsense(Frozen, frozen=True):
    """What is no message of a relay, and why."""

    reason: str


RelayMessage: TypeAlias = (
    Delivery | Receipt | StoredEnd | Ending | Total | Challenge | SyncReply | SyncRefusal | Remark | Nonsense
)

_BOUNDS: Final = MessageBounds.of(Limits(max_event_tags=20_000)).events
"""Of a long message: the tags that events on other relays have, and not more values than a message has room for."""
_MOST_ID: Final = 64
"""Characters of an id of ours: none is longer."""
_MOST_CHALLENGE: Final = 1_024
_EVENT_START: Final = '["EVENT"'
_decode_event: Final = msgspec.json.Decoder(tuple[Literal["EVENT"], str, Event]).decode
_decode_any: Final = msgspec.json.Decoder(list[object]).decode
_encode: Final = msgspec.json.Encoder().encode


def read(text: str) -> RelayMessage:
    """Read one message of another relay; of any text."""
    if len(text) > LONG and _BOUNDS.excess(text.encode()):
        return Nonsense("a message with more lists or values than any event has")
    try:
        return _delivery(text) if text.startswith(_EVENT_START) else _read_any(text, _decode_any(text))
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return Nonsense("a message that is no JSON of the form that its verb needs")


def _delivery(text: str) -> Delivery | Nonsense:
    _, sub_id, event = _decode_event(text)
    if (fault := check_shape(event)) is not None:
        return Nonsense(f"an event that is none: {fault}")
    return Delivery(sub_id, event, len(text))


def _read_any(text: str, array: list[object]) -> RelayMessage:
    match array:
        case ["EVENT", *_]:
            return _delivery(text)
        case ["OK", str() as event_id, bool() as accepted, *rest]:
            return Receipt(event_id[:_MOST_ID], accepted, _reason(rest))
        case ["EOSE", str() as sub_id, *rest]:
            return StoredEnd(sub_id, _is_whole(rest))
        case ["CLOSED", str() as sub_id, *rest]:
            return Ending(sub_id, _reason(rest))
        case ["COUNT", str() as sub_id, {"count": int() as number, **more}] if type(number) is int and number >= 0:
            return Total(sub_id, number, more.get("approximate") is True)
        case ["AUTH", str() as challenge] if len(challenge) <= _MOST_CHALLENGE:
            return Challenge(challenge)
        case ["NEG-MSG", str() as sync_id, str() as digits]:
            return _sync_reply(sync_id, digits)
        case ["NEG-ERR", str() as sync_id, *rest]:
            most = rest[1] if len(rest) > 1 else None
            return SyncRefusal(sync_id, _reason(rest), most if type(most) is int else None)
        case ["NOTICE", *rest]:
            return Remark(_reason(rest))
    return Nonsense("a message of a verb that no relay uses, or of another form")


def _sync_reply(sync_id: str, digits: str) -> SyncReply | Nonsense:
    try:
        return SyncReply(sync_id, bytes.fromhex(digits))
    except ValueError:
        return Nonsense("a NEG-MSG that is not hex")


def _reason(rest: Sequence[object]) -> str:
    return clipped(rest[0]) if rest and isinstance(rest[0], str) else ""


def clipped(text: str) -> str:
    """What another relay says, as it can stand in a line of a log: without line breaks, and not longer than that."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:MOST_REASON]).strip()


def says(reason: str, prefix: Prefix) -> bool:
    """True if a refusal has this word at its beginning (NIP-01), or near it: some relays put another one in front."""
    return f"{prefix}:" in reason[:_NEAR]


def _is_whole(rest: Sequence[object]) -> bool | None:
    hints = rest[0] if rest and isinstance(rest[0], list) else []
    return True if "finish" in hints else False if "more" in hints else None


def publish(event: Event) -> str:
    """`["EVENT", event]`."""
    return _text("EVENT", event)


def subscribe(sub_id: str, filters: Sequence[FilterJson]) -> str:
    """`["REQ", sub_id, filter, …]`."""
    return _text("REQ", sub_id, *filters)


def unsubscribe(sub_id: str) -> str:
    """`["CLOSE", sub_id]`."""
    return _text("CLOSE", sub_id)


def count(sub_id: str, filter_: FilterJson) -> str:
    """`["COUNT", sub_id, filter]` (NIP-45)."""
    return _text("COUNT", sub_id, filter_)


def authenticate(event: Event) -> str:
    """`["AUTH", event]` (NIP-42)."""
    return _text("AUTH", event)


def open_sync(sync_id: str, filter_: FilterJson, message: bytes) -> str:
    """`["NEG-OPEN", sync_id, filter, hex]` (NIP-77)."""
    return _text("NEG-OPEN", sync_id, filter_, message.hex())


def continue_sync(sync_id: str, message: bytes) -> str:
    """`["NEG-MSG", sync_id, hex]`."""
    return _text("NEG-MSG", sync_id, message.hex())


def close_sync(sync_id: str) -> str:
    """`["NEG-CLOSE", sync_id]`."""
    return _text("NEG-CLOSE", sync_id)


def _text(*message: object) -> str:
    return _encode(message).decode()
