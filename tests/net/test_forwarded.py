"""Forwarded (RFC 7239), read from its end: chains, quotes, ports, names that hide, and what clients try with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_relay.net import addresses, forwarded

PROXIES = addresses.Proxies(("10.0.0.0/8", "2001:db8:1::/48"), "Forwarded")
CLIENT = "203.0.113.7"
LIAR = "198.51.100.1"
MINE = st.text('for=";,\\= _a1.' + LIAR, max_size=40)
"""What a client may write itself."""


def client(told: str) -> str:
    return PROXIES.client_address("10.0.0.1", {"forwarded": told, "x-forwarded-for": LIAR})


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        pytest.param(f"for={LIAR}, for={CLIENT}, for=10.0.0.3, for=10.0.0.2", CLIENT, id="several proxies"),
        pytest.param(f'for={CLIENT}, for="[2001:db8:1::5]:443";by=_b', CLIENT, id="of both families"),
        pytest.param(f"for={CLIENT},for=10.0.0.2", CLIENT, id="headers that were joined"),
        pytest.param(f",, for={CLIENT} ,; , for=10.0.0.2,", CLIENT, id="nothing between commas"),
        pytest.param('for="[2001:db8:2::17]"', "2001:db8:2::17", id="IPv6"),
        pytest.param('for="[2001:db8:2::17]:4711"', "2001:db8:2::17", id="IPv6 with a port"),
        pytest.param("for=[2001:db8:2::17]:4711", "2001:db8:2::17", id="IPv6 without its quotes"),
        pytest.param(f'for="[::ffff:{CLIENT}]"', CLIENT, id="IPv4 in IPv6"),
        pytest.param(f'for="{CLIENT}:_port.1"', CLIENT, id="a hidden port"),
        pytest.param('for="[2001:db8:2::17]:_x"', "2001:db8:2::17", id="a hidden port of IPv6"),
        pytest.param(f'FOR="\\2{CLIENT[1:]}"', CLIENT, id="an escape for nothing"),
        pytest.param(f'proto=https;host="a,b;for={LIAR}";for={CLIENT}', CLIENT, id="in quotes"),
        pytest.param(f'for={CLIENT};host="a,for={LIAR}"', CLIENT, id="a comma in the host"),
        pytest.param(f'for={CLIENT};host="a\\",for={LIAR};x=\\""', CLIENT, id="a quote in the host"),
        pytest.param(f'for={CLIENT};host="a,for={LIAR};x=";by="_p"', CLIENT, id="an equals sign at its end"),
        pytest.param(f'for="{LIAR}, for={CLIENT}', CLIENT, id="a quote that was left open"),
        pytest.param(f'for="{LIAR}\\, for={CLIENT};host="a"', CLIENT, id="left open before another"),
        pytest.param("for=_hidden, for=10.0.0.2", addresses.UNNAMED, id="a hidden name"),
        pytest.param(f"for=_{CLIENT}", addresses.UNNAMED, id="a hidden name that looks like none"),
        pytest.param(f"for={CLIENT};for={LIAR}", addresses.UNNAMED, id="two at once"),
        pytest.param(f"by={CLIENT}", addresses.UNNAMED, id="none"),
        pytest.param(f"for={CLIENT}, by=10.0.0.2", addresses.UNNAMED, id="none by the nearest"),
        pytest.param(f"{CLIENT}", addresses.UNNAMED, id="no pair"),
        pytest.param(f'for="{CLIENT}', addresses.UNNAMED, id="no end"),
        pytest.param(f"for={CLIENT} for={LIAR}", addresses.UNNAMED, id="no semicolon"),
        pytest.param(f'for={CLIENT};host="{"," * 20}"', addresses.UNNAMED, id="commas without end"),
        pytest.param("", addresses.UNNAMED, id="nothing"),
        pytest.param("for=10.0.0.3, for=10.0.0.2", "10.0.0.3", id="proxies alone"),
    ],
)
def test_who_the_client_is(told: str, expected: str) -> None:
    assert client(told) == expected


@given(MINE, st.lists(st.sampled_from(["10.0.0.2", "10.9.9.9"]), max_size=3))
def test_whatever_a_client_writes_in_front_it_is_who_the_nearest_proxies_name(mine: str, hops: list[str]) -> None:
    told = ", ".join([mine, f'for="{CLIENT}:1"', *(f"for={hop}" for hop in hops)])
    assert client(told) == CLIENT


@given(MINE, MINE)
def test_whatever_a_proxy_repeats_of_it_in_quotes_changes_nothing(mine: str, repeated: str) -> None:
    quoted = repeated.replace("\\", "\\\\").replace('"', '\\"')
    assert client(f'{mine}, for={CLIENT};host="{quoted}";proto=https') in (
        CLIENT,
        *[addresses.UNNAMED] * (quoted.count(",") > 14),
    )


@given(st.text())
def test_any_text_comes_to_an_end(told: str) -> None:
    assert len(list(forwarded.forwarded_for(told))) <= told.count(",") + 1
