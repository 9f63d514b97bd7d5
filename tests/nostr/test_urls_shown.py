"""What is shown of a URL, and said of one that is wrong, holds nothing secret."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from trio_relay import config_checks
from trio_relay.cli import main
from trio_relay.nostr import urls
from trio_relay.peers import dialing, mirror_options
from trio_relay.sources import BrokenFile, NoSource, open_source

_SHOWN = "wss://host.example:77777/way: URL relay cannot be read mirror.url (table 1)"
secrets = st.text(st.sampled_from("0123456789SKYZ/@:%?#[]\\. \n€℀"), max_size=12)


def told_of(url: str) -> str:
    """All that is said of a URL, wherever one is given; without what no connection is made for."""
    told = [urls.bare_url(url)]
    with contextlib.suppress(ValueError):
        dialing.parse_url(url)
        urls.split_url(url)
    try:
        dialing.parse_url(url)
    except ValueError as error:
        told.append(str(error))
    try:
        config_checks.check_mirrors([mirror_options.MirrorOptions(url=url)], [])
    except config_checks.ConfigError as error:
        told.append(str(error))
    return "\n".join(told)


@given(st.sampled_from(["ws", "wss", "https", "postgresql"]), secrets, secrets, secrets, secrets, st.booleans())
def test_nothing_secret_is_told(scheme: str, user: str, password: str, query: str, fragment: str, quoted: bool) -> None:
    """In pieces of four characters, but for those that host and path have, too."""
    parts = [quote(one, safe="") if quoted else one for one in (user, password, query, fragment)]
    told = told_of(f"{scheme}://{parts[0]}:{parts[1]}@host.example:77777/way?q={parts[2]}#{parts[3]}")
    for secret in (user, password, query, fragment, *parts):
        for place in range(len(secret) - 3):
            piece = secret[place : place + 4]
            assert piece not in told or piece in _SHOWN or piece in urls.UNREADABLE


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://a.example", "ws://a.example"),
        ("wss://[::1]:7777/", "wss://[::1]:7777/"),
        (" wss://user:pass@a.example:80/b?token=c#d\n", "wss://a.example:80/b"),
        ("wss://token@a.example?b", "wss://a.example"),
        ("ws://user:pa@ss@a.example", "ws://a.example"),
        ("ws://user:pa/ss@a.example", "ws://…"),
        ("ws://user:pa@ss/word@a.example", "ws://…"),
        ("ws://a.example/?to=b@c", "ws://…"),
        ("a.example/b?c", "a.example/b"),
        ("user:pass@a.example", "…"),
    ],
)
def test_scheme_host_port_and_path_are_shown(url: str, shown: str) -> None:
    assert urls.bare_url(url) == shown


def test_a_port_that_is_none_is_told_with_its_url() -> None:
    with pytest.raises(ValueError, match=r"^'ws://a\.example:99999/b' is no URL of a relay: the URL has no host or no"):
        dialing.parse_url("ws://user:pass@a.example:99999/b")


@pytest.mark.parametrize("scheme", ["https", "postgresql"])
@pytest.mark.parametrize(
    "url", ["user:SECR/ET99@127.0.0.1:1/x", "user:SECRET99@127.0.0.1:port/x", "user:SECR%zzET99@[/x"]
)
def test_an_import_tells_no_part_of_a_password(scheme: str, url: str) -> None:
    if scheme == "postgresql":
        pytest.importorskip("psycopg")
    with pytest.raises((BrokenFile, NoSource)) as caught, open_source(f"{scheme}://{url}", lambda _bytes: None):
        pass
    assert "SECR" not in str(caught.value)
    assert "ET99" not in str(caught.value)


@pytest.mark.usefixtures("own_logging")
@pytest.mark.parametrize(
    "url", ["ws://me:SECRET99@127.0.0.1:1/?t=TOKEN99", "ws://me:SECRET99@x:99999", "me:SECRET99@x"]
)
def test_a_sync_that_fails_tells_no_part_of_a_password(url: str, tmp_path: Path) -> None:
    ended = CliRunner().invoke(main, ["sync", url], env={"TRIO_RELAY_STORE__PATH": str(tmp_path / "relay.db")})
    assert ended.exit_code != 0
    assert "127.0.0.1:1" in ended.output or "no URL of a relay" in ended.output
    assert not re.search("SECRET99|TOKEN99", ended.output)
