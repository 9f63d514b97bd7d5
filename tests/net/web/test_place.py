"""Where a request is on the web: links lead back to the relay's own path, whatever a proxy has made of it."""

from __future__ import annotations

import pytest

from trio_relay.net import http, web

NAMES = ("wss://relay.example/nostr", "ws://127.0.0.1:7777/")
PATHS = ["/nostr", ""]


def asked(target: str, host: str = "relay.example", **headers: str) -> http.Request:
    named = {"host": host, **headers}
    return http.Request("GET", target.partition("?")[0], named, list(named.items()), target)


@pytest.mark.parametrize(
    ("target", "host", "path", "root", "origin"),
    [
        pytest.param("/nostr/admin/now", "relay.example", "/admin/now", "/nostr", "https://relay.example", id="kept"),
        pytest.param("/admin/now", "relay.example", "/admin/now", "/nostr", "https://relay.example", id="taken off"),
        pytest.param("/nostr", "Relay.Example", "/", "/nostr", "https://relay.example", id="no slash"),
        pytest.param("/nostrum", "relay.example", "/nostrum", "/nostr", "https://relay.example", id="another word"),
        pytest.param("/", "127.0.0.1:7777", "/", "", "http://127.0.0.1:7777", id="another name"),
        pytest.param("/nostr/e/1", "elsewhere", "/e/1", "/nostr", "http://elsewhere", id="no name, path kept"),
        pytest.param("/e/1", "elsewhere", "/e/1", "", "http://elsewhere", id="no name, no path"),
        pytest.param("/%61dmin", "elsewhere", "/admin", "", "http://elsewhere", id="percent-encoded"),
    ],
)
def test_a_page_knows_what_its_links_begin_with(target: str, host: str, path: str, root: str, origin: str) -> None:
    place = web.place.place_at(asked(target, host), PATHS, NAMES)
    assert place is not None
    assert (place.path, place.root, place.origin) == (path, root, origin)
    assert place.is_secure == origin.startswith("https")


def test_what_is_not_below_the_relay_is_nowhere() -> None:
    assert web.place.place_at(asked("/elsewhere"), ["/nostr"], NAMES) is None


def test_query_form_and_cookies_are_read_as_browsers_send_them() -> None:
    source = asked("/admin?said=a+b&said=c%26&empty=", cookie="one=1; two=a=b; broken")
    place = web.place.place_at(source, PATHS, NAMES)
    assert place is not None
    assert place.query == {"said": "c&", "empty": ""}
    assert place.cookies == {"one": "1", "two": "a=b"}
    assert place.form == []
    kind = {"content-type": "application/x-www-form-urlencoded; charset=UTF-8"}
    sent = http.Request("POST", "/admin", kind, [], "/admin", b"s0=a%20b&s0=&n1=7&s2=%ff")
    form = web.place.place_at(sent, PATHS, NAMES)
    assert form is not None
    assert form.form == [("s0", "a b"), ("s0", ""), ("n1", "7"), ("s2", "\N{REPLACEMENT CHARACTER}")]


@pytest.mark.parametrize("text", ["x=1&" * 200, "&".join(f"x{n}=1" for n in range(101))])
def test_more_fields_than_a_form_has_are_none(text: str) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    place = web.place.place_at(http.Request("POST", "/", kind, [], f"/?{text}", text.encode()), PATHS, NAMES)
    assert place is not None
    assert (place.query, place.form) == ({}, [])
