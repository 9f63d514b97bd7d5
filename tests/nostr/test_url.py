"""Which spellings of an address mean the same relay."""

from __future__ import annotations

import encodings.idna

import pytest

from trio_relay.nostr.urls import is_loopback, same_relay


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("wss://relay.example", "wss://relay.example"),
        ("wss://relay.example", "wss://relay.example/"),
        ("wss://relay.example/inner", "wss://relay.example/inner//"),
        ("wss://relay.example", "WSS://Relay.Example"),
        ("wss://relay.example", "wss://relay.example:443"),
        ("wss://relay.example", "wss://relay.example:"),
        ("wss://relay.example", "wss://relay.example."),
        ("wss://relay.example", "https://relay.example"),
        ("wss://relay.example", "  wss://relay.example\n"),
        ("wss://relay.example", "wss://relay.example/?query#part"),
        ("wss://relay.example", "wss://someone@relay.example"),
        ("ws://relay.example", "ws://relay.example:80"),
        ("http://relay.example", "http://relay.example:80"),
        ("ws://relay.example:7777", "http://relay.example:7777"),
        ("ws://127.0.0.1:7777", "ws://localhost:7777/"),
        ("ws://127.0.0.1:7777", "ws://[::1]:7777"),
        ("ws://127.0.0.1:7777", "ws://127.1.2.3:7777"),
        ("ws://localhost.", "ws://LOCALHOST"),
        ("ws://localhost", "ws://relay.localhost"),
        ("ws://[2001:DB8::1]", "ws://[2001:db8::1]:80"),
    ],
)
def test_two_spellings_mean_one_relay(url: str, other: str) -> None:
    assert same_relay(url, other)
    assert same_relay(other, url)


@pytest.mark.parametrize(
    ("url", "other"),
    [
        ("wss://relay.example", "ws://relay.example"),
        ("wss://relay.example", "ws://relay.example:443"),
        ("wss://relay.example:7777", "ws://relay.example:7777"),
        ("wss://relay.example", "wss://other.example"),
        ("wss://relay.example", "wss://sub.relay.example"),
        ("wss://relay.example", "wss://relay.example:444"),
        ("wss://relay.example", "wss://relay.example:0"),
        ("wss://relay.example", "wss://relay.example/inner"),
        ("wss://relay.example/inner", "wss://relay.example/Inner"),
        ("ws://127.0.0.1:7777", "ws://127.0.0.1:7778"),
        ("ws://127.0.0.1:7777", "ws://128.0.0.1:7777"),
        ("ws://127.0.0.1", "ws://notlocalhost"),
        ("ws://127.0.0.1", "ws://localhost.example"),
        ("ws://relay.example:21", "ftp://relay.example:21"),
    ],
)
def test_two_relays_are_told_apart(url: str, other: str) -> None:
    assert not same_relay(url, other)
    assert not same_relay(other, url)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "relay.example",
        "relay.example:7777",
        "//relay.example",
        "ftp://relay.example",
        "ftp://relay.example:80",
        "ws://",
        "ws:///path",
        "ws://:80",
        "ws://.",
        "ws://[::1",
        "ws://[hello]",
        "ws://relay.example:port",
        "ws://relay.example:65536",
        "ws://relay.example:-1",
    ],
)
def test_a_text_that_is_no_address_names_no_relay_not_even_itself(text: str) -> None:
    assert not same_relay(text, text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("126.255.255.255", False),
        ("128.0.0.0", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::2", False),
        ("10.0.0.1", False),
        ("relay.example", False),
        ("notlocalhost", False),
        ("", False),
    ],
)
def test_loopback_is_what_stays_on_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "host",
    ["\u00e9." * 30_000, "\u00e9" * 60_000, "\ufdfa" * 60_000, "\ufdfa" * 200, "\u3300" * 200],
    ids=["labels", "one label", "spreading", "spreading within a name's length", "spreading without spaces"],
)
def test_what_no_network_has_as_a_host_is_not_worked_on(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each character that it comes to takes Python five microseconds."""
    worked_on = []

    def nameprep(label: str) -> str:
        worked_on.append(label)
        return label

    monkeypatch.setattr(encodings.idna, "nameprep", nameprep)
    assert not same_relay(f"wss://{host}", "wss://relay.example")
    assert worked_on == []


def test_a_relay_is_named_in_two_thousand_characters_at_most() -> None:
    assert same_relay("wss://relay.example" + "/" * 2_000, "wss://relay.example")
    assert not same_relay("wss://relay.example" + "/" * 2_100, "wss://relay.example")
