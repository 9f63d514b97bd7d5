"""Any bytes where a text is expected: messages, what signs a request, addresses and URLs, what a sync's sides say."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final

import msgspec

from tests.support.keys import ALICE, NOW
from trio_relay import Event, Filter, Limits
from trio_relay.net import addresses
from trio_relay.nostr import auth, errors, negentropy, session, urls
from trio_relay.nostr import event as events
from trio_relay.nostr import message as messages

LIMITS: Final = Limits(max_filters=3, max_subscriptions=4, max_filter_values=120, max_limit=500)
PREFIXES: Final = tuple(f"{prefix}: " for prefix in errors.Prefix)


class _Answerer:
    """Answers a request, and counts how often it was told to end."""

    sub_id = ""
    filters: tuple[Filter, ...] = ()
    size = 0
    is_ended = False

    def __init__(self) -> None:
        self.ends = 0

    def end(self) -> None:
        self.ends += 1


def feed_messages(data: bytes) -> None:
    """Give a session each line as a message, and carry out what it asks for.

    Raises:
        AssertionError: a message is read as something that cannot be, or the session's table is not what it says.
    """
    conversation = session.Session(LIMITS)
    subscriptions: list[_Answerer] = []
    counts: list[_Answerer] = []
    for line in data.decode(errors="replace").encode().split(b"\n"):  # frames that are no UTF-8 never come so far
        action = conversation.receive(line)
        check_message(line, action)
        if isinstance(action, messages.Subscribe | messages.Count):
            answerer = _Answerer()
            (subscriptions if isinstance(action, messages.Subscribe) else counts).append(answerer)
            conversation.open(action, answerer)
        elif isinstance(action, messages.Unsubscribe):
            assert all(action.sub_id != one.sub_id for one in conversation.open_requests)
        is_open = [one for one in subscriptions if not one.ends]
        assert len(is_open) + len(counts) <= LIMITS.max_subscriptions
        assert conversation.filter_values == sum(one.size for one in [*is_open, *counts]) <= LIMITS.max_filter_values
        assert conversation.open_requests == [one for one in [*is_open, *counts] if not one.is_ended] or len(counts)
    conversation.close_all()
    for one in counts:
        conversation.answered(one)
    assert {one.ends for one in [*subscriptions, *counts]} <= {1}, "each has ended, once"
    assert (conversation.filter_values, conversation.open_requests) == (0, [])


def check_message(data: bytes, action: messages.ClientMessage, max_filters: int = LIMITS.max_filters) -> None:
    """What the rest of the relay may rely on, whatever a message holds."""
    match action:
        case messages.Publish(event) | messages.Authenticate(event):
            assert events.check_shape(event) is None
            assert events.decode(events.encode(event)) == event
            assert events.id_matches(event) in (True, False)
            assert msgspec.to_builtins(event).items() <= _read_by_others(data)[1].items(), "others read another event"
        case messages.Subscribe(sub_id, filters) | messages.Count(sub_id, filters):
            assert 1 <= len(sub_id) <= 64
            assert 1 <= len(filters) <= max_filters
            _check_filters(filters)
            sub_id.encode()
        case messages.OpenSync(sync_id, filter_, _):
            assert 1 <= len(sync_id) <= 64
            _check_filters([filter_])
        case messages.Unsubscribe(name) | messages.ContinueSync(name) | messages.CloseSync(name):
            name.encode()
        case messages.RefusedMessage(message):
            check_refusal(message)


def _read_by_others(data: bytes) -> Any:
    """The same by the standard library; integers are cut short, of which it refuses long ones."""
    return json.loads(data.decode(), parse_int=lambda digits: int(digits[:32]))


def _check_filters(filters: Iterable[Filter]) -> None:
    for filter_ in filters:
        numbers = [number for number in (filter_.since, filter_.until, filter_.limit) if number is not None]
        assert all(0 <= number < 2**63 for number in numbers)
        assert filter_.weight > 0, "nothing is free"


def check_refusal(message: bytes) -> None:
    """An answer that refuses: JSON, of a form that NIPs 1 and 77 know."""
    match msgspec.json.decode(message):
        case ["OK", str() as event_id, False, str() as reason]:
            assert len(event_id) == 64
            assert reason.startswith(PREFIXES)
        case ["CLOSED" | "NEG-ERR", str(), str() as reason]:
            assert reason.startswith(PREFIXES)
        case ["NOTICE", str() as text]:
            assert text.startswith("invalid: ")
        case other:
            raise AssertionError(other)


URL: Final = "https://relay.example/"
BODY: Final = b'{"method":"supportedmethods","params":[]}'
AUTHORIZING: Final = ALICE.event(
    kind=27_235, tags=[["u", URL], ["method", "POST"], ["payload", sha256(BODY).hexdigest()]]
)


def feed_authorization(data: bytes) -> None:
    """Read an `Authorization` header: these bytes as they are, and the same as what stands in one that is well formed.

    Raises:
        AssertionError: it holds something that is no event, or authorises what it does not name.
    """
    for header in (data.decode("latin-1"), f"Nostr {b64encode(data).decode()}"):
        try:
            event = auth.parse_http_auth(header)
        except errors.Rejected:
            continue
        assert events.check_shape(event) is None
        refused = auth.check_http_auth(event, url=URL, method="POST", body=BODY, now=NOW)
        if refused is None:
            _check_authorization(event)
        assert auth.check_http_auth(event, url=URL, method="POST", body=b"another", now=NOW) is not None
        assert auth.check_http_auth(event, url=f"{URL}elsewhere", method="POST", body=BODY, now=NOW) is not None


def _check_authorization(event: Event) -> None:
    """NIP-98, word by word, and that the id is that of the event: a signature is then of all that."""
    first = {tag[0]: tag[1] for tag in reversed(event.tags) if len(tag) > 1}
    assert (event.kind, first["method"], first["payload"].lower()) == (27_235, "POST", sha256(BODY).hexdigest())
    assert urls.same_url(first["u"], URL)
    assert abs(event.created_at - NOW) <= 60
    assert events.id_matches(event)


_PROXY: Final = "10.0.0.1"
_PROXIES: Final = [addresses.Proxies([_PROXY], name) for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP")]


def feed_addresses(data: bytes) -> None:
    """Read what a client has made its proxy write, by each of the headers, and two URLs.

    Raises:
        AssertionError: somebody is taken for a proxy, or for what is no address.
    """
    text = data.decode("latin-1")
    for proxies, header in zip(_PROXIES, ("x-forwarded-for", "forwarded", "x-real-ip"), strict=True):
        assert proxies.client_address("192.0.2.1", {header: text}) == "192.0.2.1", "nobody else is believed"
        client = proxies.client_address(_PROXY, {header: text})
        if client not in (addresses.UNNAMED, _PROXY):
            assert str(addresses.parse_address(client)) == client
        assert client != _PROXY or _PROXY in text or not text.strip()
        assert proxies.origin(client) is not None or client == _PROXY
    one, _, other = data.decode(errors="replace").partition("\n")
    for same in (urls.same_relay, urls.same_url):
        assert same(one, other) == same(other, one)
        assert not same(one, other) or same(one, one)


def _event_id(number: int) -> bytes:
    return sha256(str(number).encode()).digest()


def _items(numbers: Iterable[int]) -> negentropy.items.Items:
    collection = negentropy.items.ItemSet()
    collection.extend(b"".join(negentropy.items.record(number // 3 * 7, _event_id(number)) for number in numbers))
    return collection.snapshot()


SERVED: Final = _items(range(300))
_KNOWN: Final = frozenset(map(_event_id, range(300)))


def feed_sync(data: bytes) -> None:
    """Answer a message of a sync as the relay, in frames as small as they may be and without a bound; and read it as a
    client.

    Raises:
        AssertionError: the answer is too long, cannot be read, or names what is not in the set.
    """
    for limit in (negentropy.protocol.LEAST_FRAME, 0):
        with suppress(errors.Rejected):
            answer = negentropy.protocol.reply(SERVED, data, limit)
            assert len(answer) <= (limit or 100_000 + 300 * len(data))
            for one in negentropy.wire.read_ranges(answer):
                if one.mode == negentropy.wire.ID_LIST:
                    ids = {one.payload[at : at + 32] for at in range(0, len(one.payload), 32)}
                    assert ids <= _KNOWN
        with suppress(errors.Rejected):
            step = negentropy.protocol.reconcile(SERVED, data, limit)
            assert set(step.have) <= _KNOWN
            assert not set(step.need) & _KNOWN
            assert len(step.message or b"") <= (limit or 100_000 + 300 * len(data))
