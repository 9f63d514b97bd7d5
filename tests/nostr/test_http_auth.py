"""NIP-98: what authorises an HTTP request, and what does not."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE, NOW
from trio_relay.nostr.auth import check_http_auth, parse_http_auth
from trio_relay.nostr.errors import Rejected
from trio_relay.nostr.event import Event, encode
from trio_relay.nostr.urls import same_url

URL = "https://relay.example/api?page=1&size=2"
BODY = b'{"method":"supportedmethods","params":[]}'
PAYLOAD = sha256(BODY).hexdigest()
EMPTY_PAYLOAD = sha256(b"").hexdigest()
TAGS = [["u", URL], ["method", "POST"], ["payload", PAYLOAD]]
EVENT = ALICE.event(kind=27_235, tags=TAGS)


def refusal(event: Event, *, url: str = URL, method: str = "POST", body: bytes = BODY) -> str | None:
    refused = check_http_auth(event, url=url, method=method, body=body, now=NOW)
    return None if refused is None else str(refused)


def asking(*tags: list[str]) -> Event:
    return ALICE.event(kind=27_235, tags=list(tags))


def header_refusal(header: str) -> str:
    with pytest.raises(Rejected) as refused:
        parse_http_auth(header)
    return str(refused.value)


def in_header(data: bytes) -> str:
    return f"Nostr {b64encode(data).decode()}"


class TestHeader:
    """From the header to the event."""

    @pytest.mark.parametrize("scheme", ["Nostr", "nostr", "NOSTR"])
    @pytest.mark.parametrize("padded", [True, False])
    @pytest.mark.parametrize("alphabet", [b64encode, urlsafe_b64encode])
    # The lengths make padding of every kind, and these characters digits in which the alphabets differ.
    @pytest.mark.parametrize("content", ["????>>>>", "????>>>>x", "????>>>>xx"])
    def test_every_usual_base64_is_read(self, scheme: str, padded: bool, alphabet: object, content: str) -> None:
        event = ALICE.event(content, kind=27_235, tags=TAGS)
        assert callable(alphabet)
        token = alphabet(encode(event)).decode()
        assert parse_http_auth(f"{scheme} {token if padded else token.rstrip('=')}") == event

    def test_blanks_around_the_event_are_no_part_of_it(self) -> None:
        assert parse_http_auth(f"Nostr   {b64encode(encode(EVENT)).decode()} ") == EVENT

    @pytest.mark.parametrize("header", ["", "Nostr2 e30=", "Basic e30=", "Nostre30=", " Nostr e30=", "Nostr,e30="])
    def test_another_scheme_is_refused(self, header: str) -> None:
        assert header_refusal(header) == "invalid: Authorization must have the scheme Nostr"

    @pytest.mark.parametrize(
        "token",
        [
            "e30==",
            "e30===",
            "e30=e30=",
            "e3 0=",
            "e",
            "e3===",
            "=",
            "====",
            "+-==",
            "e30=,Nostr e30=",
            "é30=",
            "e30\n=",
        ],
    )
    def test_what_is_not_base64_is_refused(self, token: str) -> None:
        assert header_refusal(f"Nostr {token}") == "invalid: Authorization must be base64 after its scheme"

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{}",
            b"[]",
            b"hello",
            b"\xff",
            b'{"id":"\xff"}',
            b'{"more":' + b"[" * 4_000 + b"]" * 1_000,
            encode(EVENT)[:-1],
            encode(EVENT) + b"{}",
            encode(EVENT).replace(b"27235", b"27235.5"),
        ],
    )
    def test_what_is_no_event_is_refused(self, data: bytes) -> None:
        assert header_refusal(in_header(data)) == "invalid: Authorization does not hold an event"

    @pytest.mark.parametrize(
        ("event", "reason"),
        [
            (encode(EVENT).replace(b"27235", b"65536"), "invalid: kind must be between 0 and 65535"),
            (encode(EVENT).replace(EVENT.id.encode(), b"1"), "invalid: id must be 64 lowercase hex characters"),
        ],
    )
    def test_a_field_that_cannot_be_right_is_named(self, event: bytes, reason: str) -> None:
        assert header_refusal(in_header(event)) == reason

    def test_a_header_has_at_most_8192_characters(self) -> None:
        header = in_header(encode(EVENT))
        padded = header.replace(" ", " " * (8_193 - len(header)))
        assert len(padded) == 8_192
        assert parse_http_auth(padded) == EVENT
        assert header_refusal(padded + " ") == "invalid: Authorization has more than 8192 characters"

    @given(st.one_of(st.text(), st.text().map("Nostr {}".format), st.binary().map(in_header)))
    def test_anything_else_is_refused_and_nothing_else_happens(self, header: str) -> None:
        assert header_refusal(header).startswith("invalid: Authorization ")


class TestRequest:
    """From the event to the request that it is for."""

    def test_an_event_for_this_request_authorises_it(self) -> None:
        assert refusal(EVENT) is None

    @pytest.mark.parametrize("created_at", [NOW - 60, NOW + 60])
    def test_it_is_good_for_a_minute(self, created_at: int) -> None:
        assert refusal(ALICE.event(kind=27_235, created_at=created_at, tags=TAGS)) is None

    @pytest.mark.parametrize("created_at", [NOW - 61, NOW + 61])
    def test_and_no_longer(self, created_at: int) -> None:
        event = ALICE.event(kind=27_235, created_at=created_at, tags=TAGS)
        assert refusal(event) == "invalid: created_at is more than 60 seconds from the relay's time"

    @pytest.mark.parametrize("kind", [1, 22_242, 27_234])
    def test_only_kind_27235_authorises(self, kind: int) -> None:
        assert refusal(ALICE.event(kind=kind, tags=TAGS)) == "invalid: kind must be 27235"

    def test_the_id_must_be_the_events_own(self) -> None:
        assert refusal(ALICE.signed("0" * 64, NOW, 27_235, TAGS, "")) == "invalid: id is not the hash of the event"

    @pytest.mark.parametrize("tag", [["u"], ["u", ""], ["u", "https://relay.example/api"], ["U", URL]])
    def test_another_url_is_refused(self, tag: list[str]) -> None:
        assert refusal(asking(tag, *TAGS[1:])) == f"invalid: the u tag is not the URL of this request, {URL}"

    @pytest.mark.parametrize("tag", [["method"], ["method", "GET"], ["method", "post"], ["methods", "POST"]])
    def test_another_method_is_refused(self, tag: list[str]) -> None:
        event = asking(TAGS[0], tag, TAGS[2])
        assert refusal(event) == "invalid: the method tag is not the method of this request, POST"

    def test_the_first_tag_of_a_name_counts(self) -> None:
        assert refusal(asking(*TAGS, ["u", "https://other.example"], ["method", "GET"], ["payload", "0"])) is None

    @pytest.mark.parametrize("payload", ["", PAYLOAD[:-1], EMPTY_PAYLOAD, "é"])
    def test_another_body_is_refused(self, payload: str) -> None:
        event = asking(*TAGS[:2], ["payload", payload])
        assert refusal(event) == "invalid: the payload tag is not the SHA-256 of the body"

    def test_hex_may_be_in_capitals(self) -> None:
        assert refusal(asking(*TAGS[:2], ["payload", PAYLOAD.upper()])) is None

    @pytest.mark.parametrize(
        ("method", "body", "needed"),
        [
            ("GET", b"", False),
            ("DELETE", b"", False),
            ("GET", b"x", True),
            ("POST", b"", True),
            ("PUT", b"", True),
            ("PATCH", b"", True),
        ],
    )
    def test_a_payload_is_needed_where_there_is_or_may_be_a_body(self, method: str, body: bytes, needed: bool) -> None:
        without = asking(TAGS[0], ["method", method])
        expected = "invalid: the payload tag is missing; it holds the SHA-256 of the body" if needed else None
        assert refusal(without, method=method, body=body) == expected
        having = asking(TAGS[0], ["method", method], ["payload", sha256(body).hexdigest()])
        assert refusal(having, method=method, body=body) is None


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("https://relay.example", "https://relay.example/"),
        ("https://relay.example?a=b", "https://relay.example/?a=b"),
        ("wss://relay.example/", "https://relay.example/"),
        ("ws://relay.example/", "http://relay.example/"),
        ("HTTPS://Relay.Example/a", "https://relay.example/a"),
        ("https://relay.example:443/a", "wss://relay.example/a"),
        ("http://relay.example:80/a", "ws://relay.example:/a"),
        ("ws://127.0.0.1:7777/a", "http://localhost:7777/a"),
        ("http://[::1]:7777", "http://127.0.0.1:7777/"),
    ],
)
def test_two_spellings_mean_one_url(url: str, other: str) -> None:
    assert same_url(url, other)
    assert same_url(other, url)


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("https://relay.example/a", "http://relay.example/a"),
        ("https://relay.example/a", "https://relay.example/a/"),
        ("https://relay.example/a", "https://relay.example/A"),
        ("https://relay.example/a", "https://relay.example/%61"),
        ("https://relay.example/a?b=1&c=2", "https://relay.example/a?c=2&b=1"),
        ("https://relay.example/a?b", "https://relay.example/a?B"),
        ("https://relay.example/a?b", "https://relay.example/a"),
        ("https://relay.example/a", "https://relay.example/a#b"),
        ("https://relay.example/a", "https://relay.example:8443/a"),
        ("https://relay.example/a", "https://someone@relay.example/a"),
        ("https://relay.example/a", "https://relay.example.evil/a"),
        ("https://relay.example/a", "https://relay.example/a\n"),
        ("https://relay.example/ab", "https://relay.example/a\tb"),
    ],
)
def test_two_urls_are_told_apart(url: str, other: str) -> None:
    assert not same_url(url, other)
    assert not same_url(other, url)


@pytest.mark.parametrize(
    "text", ["", "/a", "relay.example/a", "ftp://relay.example", "https://", "https:///a", "http://a:b", "http://[a"]
)
def test_what_is_no_url_is_the_same_as_none(text: str) -> None:
    assert not same_url(text, text)
