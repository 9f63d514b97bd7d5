"""What of another configuration a running relay goes by, and what waits: compared by the names of settings."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.settings import OTHERS, changed, configuration, names, value_of
from trio_relay.config import Config, check, check_together, settings
from trio_relay.config_checks import ConfigError
from trio_relay.config_tables import LISTED
from trio_relay.live_settings import FIXED, Comparison, compared
from trio_relay.memory_budget import SHARES


def comparison(before: dict[str, Any], after: dict[str, Any]) -> Comparison:
    return compared(check(before), check(after), check_together)


def test_each_setting_that_waits_is_there_and_has_a_reason() -> None:
    known = {f"{setting.section}.{setting.key}" for setting in settings()}
    assert set(FIXED) <= known
    assert all(FIXED.values())


def test_there_is_another_value_for_each_setting() -> None:
    assert set(OTHERS) == set(names())


@pytest.mark.parametrize("name", names())
def test_a_setting_changes_or_waits_and_no_other_does(name: str) -> None:
    before, after = configuration(), changed(name)
    found = compared(before, after, check_together)
    assert (found.changed, found.waiting) == (((), (name,)) if name in FIXED else ((name,), ()))
    assert value_of(found.config, name) == value_of(before if name in FIXED else after, name)
    rest = [one for one in names() if one != name]
    assert [value_of(found.config, one) for one in rest] == [value_of(before, one) for one in rest]


def test_where_nothing_is_another_nothing_changes() -> None:
    found = compared(configuration(), configuration(), check_together)
    assert (found.config, found.changed, found.waiting) == (configuration(), (), ())


def test_what_waits_is_named_until_the_relay_goes_by_it() -> None:
    before, after = {"store": {"readers": 5}}, {"store": {"readers": 6}, "limits": {"max_filters": 3}}
    first = comparison(before, after)
    assert (first.changed, first.waiting) == (("limits.max_filters",), ("store.readers",))
    again = compared(first.config, check(after), check_together)
    assert (again.changed, again.waiting) == ((), ("store.readers",))
    taken_back = compared(first.config, check(before | {"limits": {"max_filters": 3}}), check_together)
    assert (taken_back.changed, taken_back.waiting) == ((), ())


NAMED: dict[str, Any] = {"relay": {"url": "wss://relay.example/"}}
SHARED: Final = [name.rpartition(".")[2] for name in SHARES if name != "net.inbound_bytes"]
TLS: dict[str, Any] = {"listen": ["tls:127.0.0.1:7777"], "tls_certificate": "a.pem", "tls_key": "a.key"}


@pytest.mark.parametrize(
    ("before", "after", "changes", "waits"),
    [
        (NAMED, {**NAMED, "members": {"enabled": True, "claims": ["abcdefgh"]}}, (), ("enabled", "claims")),
        ({**NAMED, "members": {"enabled": True, "claims": ["abcdefgh"]}}, NAMED, ("claims",), ("enabled",)),
        ({}, {"pipeline": {"workers": 4}}, (), ("workers", "total_bytes")),
        (
            {"pipeline": {"workers": 4}},
            {"net": {"max_connections": 70}},
            ("max_connections",),
            ("workers", "total_bytes"),
        ),
        (
            {"memory": {"total_bytes": 2**29}},
            {"memory": {"total_bytes": 2**29}, "net": {"inbound_bytes": 2**25}, "pipeline": {"workers": 4}},
            ("inbound_bytes",),
            ("workers", *SHARED),
        ),
        ({}, {"net": TLS}, (), ("listen", "tls_certificate", "tls_key")),
        ({"net": TLS}, {}, (), ("listen", "tls_certificate", "tls_key")),
        ({"net": TLS}, {"net": TLS | {"tls_key": "b.key"}}, ("tls_key",), ()),
        (
            NAMED,
            {**NAMED, "members": {"enabled": True}, "retention": [{"authors": "members", "max_age_seconds": 9}]},
            (),
            ("enabled", "retention"),
        ),
        ({"store": {"backend": "memory"}}, {"backup": {"every_seconds": 60}}, (), ("backend", "every_seconds")),
    ],
)
def test_what_does_not_fit_to_what_waits_waits_too(
    before: dict[str, Any], after: dict[str, Any], changes: tuple[str, ...], waits: tuple[str, ...]
) -> None:
    found = comparison(before, after)
    assert sorted(name.rpartition(".")[2] for name in found.changed) == sorted(changes)
    assert sorted(name.rpartition(".")[2] for name in found.waiting) == sorted(waits)
    check_together(found.config)


def test_a_setting_waits_too_where_what_waits_is_complained_of() -> None:
    found = comparison({"members": {"enabled": True}}, {"net": {"trusted_proxies": ["127.0.0.1"]}})
    assert found.waiting == ("net.trusted_proxies", "members.enabled")
    check_together(found.config)


def test_everything_waits_where_nothing_less_fits() -> None:
    running, read = check({}), check({"relay": {"name": "ours", "description": "of us"}, "web": {"notes": 2}})

    def fits(config: Config) -> None:
        if config.relay != running.relay:
            raise ConfigError("store.path: is somewhere else")

    found = compared(running, read, fits)
    assert (found.changed, found.config) == ((), running)
    assert found.waiting == ("relay.name", "relay.description", "web.notes")


def test_what_fits_to_nothing_is_refused_with_what_it_does_not_fit_to() -> None:
    def refuse(_config: Config) -> None:
        raise ConfigError("store.path: is somewhere else")

    with pytest.raises(ConfigError) as refused:
        compared(check({}), check({"store": {"readers": 6}}), refuse)
    assert str(refused.value) == "store.path: is somewhere else; store.readers would change with a restart"


def test_tables_of_which_there_may_be_several_are_one_setting() -> None:
    assert {"mirror", "retention"} == LISTED
    found = comparison({}, {"mirror": [{"url": "wss://x.example"}], "retention": [{"max_age_seconds": 60}]})
    assert found.changed == ("mirror", "retention")
