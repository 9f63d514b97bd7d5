"""The configuration: what is read, what is refused, and that each refusal names the key, the reason and a way out."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trio_relay.config import Config, Setting, check, is_private, load, load_whole, settings
from trio_relay.config_checks import ConfigError
from trio_relay.config_tables import options_of

SETTINGS = list(settings())


def _refusal(source: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as refused:
        check(source)
    return str(refused.value)


def _toml(folder: Path, text: str) -> Path:
    path = folder / "relay.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_everything_has_its_default() -> None:
    config = load(None, {})
    assert config == Config()
    assert config.net.listen == ("127.0.0.1:7777",)
    assert config.limits.max_message_length == 1_048_576
    assert config.limits.max_content_length == 262_144
    assert (config.limits.max_event_tags, config.limits.max_subscriptions, config.limits.max_filters) == (
        10_000,
        300,
        20,
    )
    assert (config.limits.max_limit, config.limits.default_limit) == (5_000, 500)
    assert config.limits.created_at_ahead == 900
    assert (config.store.path, config.store.synchronous) == ("data/relay.db", "full")
    assert (config.net.ping_seconds, config.net.pong_seconds) == (30.0, 20.0)


def test_every_table_is_read(tmp_path: Path) -> None:
    path = _toml(
        tmp_path,
        """
        relay.name = "home"
        limits.max_filters = 3
        net.listen = ["127.0.0.1:1", "[::1]:2"]
        net.ping_seconds = 5
        pipeline.signatures = "coincurve"
        store.backend = "memory"
        metrics.listen = ""
        log.level = "debug"
        """,
    )
    config = load(path, {})
    assert config.relay.name == "home"
    assert config.limits.max_filters == 3
    assert config.net.listen == ("127.0.0.1:1", "[::1]:2")
    assert config.net.ping_seconds == 5.0
    assert config.pipeline.signatures == "coincurve"
    assert config.store.backend == "memory"
    assert config.metrics.listen == ""
    assert config.log.level == "debug"


CLUSTER = {"backend": "opensearch"}


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://localhost:6380/2",
        "rediss://relay:sesame@[::1]:6380/",
        "unix:///run/redis/redis.sock",
        "unix://:sesame@/run/redis/redis.sock?db=3",
    ],
)
def test_where_a_bus_may_be(url: str) -> None:
    assert check({"store": CLUSTER, "bus": {"url": url}}).bus.url == url


@pytest.mark.parametrize(
    "url",
    [
        "localhost",
        "http://localhost",
        "redis://",
        "redis://localhost/x",
        "redis://localhost?stream_timeout=1",
        "unix://",
    ],
)
def test_where_no_bus_can_be(url: str) -> None:
    assert _refusal({"store": CLUSTER, "bus": {"url": url}}).startswith("bus.url: expected `str` matching regex")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"pipeline": {"workers": 2}, "store": {"backend": "memory"}},
            "pipeline.workers: a store in memory is for one process",
        ),
        (
            {"pipeline": {"workers": 0, "mute_unheard": True}},
            "pipeline.mute_unheard: no process knows who listens on another; needs pipeline.workers = 1",
        ),
    ],
)
def test_what_one_process_cannot_know_of_another_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check(settings)
    assert str(refused.value) == message


def test_a_bus_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio_relay.config_checks.find_spec", lambda name: None)
    assert _refusal({"store": CLUSTER, "bus": {"url": "redis://localhost"}}) == (
        "bus.url: needs the package coredis: pip install 'trio-relay[bus]'"
    )


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: f"{setting.section}.{setting.key}")
def test_every_default_may_be_written_out(setting: Setting) -> None:
    value = NEEDED[setting.section][setting.key] if setting.default is msgspec.NODEFAULT else setting.default
    assert check(_source(setting, setting.key, msgspec.to_builtins(value))) == check(_source(setting))


NEEDED: dict[str, dict[str, Any]] = {"mirror": {"url": "wss://relay.example"}}
"""What has no default, by table."""


def _source(setting: Setting, key: str | None = None, value: object = None) -> dict[str, Any]:
    """A configuration with this one key in the setting's table, and what must be there."""
    table = NEEDED.get(setting.section, {}) | ({} if key is None else {key: value})
    return {setting.section: [table] if setting.is_listed else table}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: f"{setting.section}.{setting.key}")
def test_a_mistyped_key_is_refused_and_the_right_one_is_named(setting: Setting) -> None:
    mistyped = f"{setting.key[:-1]}q"
    assert _refusal(_source(setting, mistyped, "anything")) == (
        f"{setting.section}.{mistyped}: unknown key; the nearest known is {setting.section}.{setting.key}"
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"limitz": {}}, "limitz: unknown table; the nearest known is limits"),
        ({"net": 3}, "net: must be a table, [net]"),
        ({"limits": {"max_filters": "3"}}, "limits.max_filters: expected `int`, got `str`"),
        ({"limits": {"max_filters": True}}, "limits.max_filters: expected `int`, got `bool`"),
        ({"limits": {"max_filters": 1.5}}, "limits.max_filters: expected `int`, got `float`"),
        ({"limits": {"max_filters": 0}}, "limits.max_filters: expected `int` >= 1"),
        ({"limits": {"max_limit": 100_001}}, "limits.max_limit: expected `int` <= 100000"),
        ({"net": {"ping_seconds": 0}}, "net.ping_seconds: expected `float` > 0.0"),
        ({"net": {"ping_seconds": float("nan")}}, "net.ping_seconds: must be a finite number"),
        ({"net": {"listen": "127.0.0.1:1"}}, "net.listen: expected `array`, got `str`"),
        ({"net": {"listen": []}}, "net.listen: expected `array` of length >= 1"),
        ({"net": {"listen": ["127.0.0.1:1", 2]}}, "net.listen: expected `str`, got `int`; a text stands in quotes"),
        ({"net": {"listen": ["127.0.0.1"]}}, "net.listen: '127.0.0.1' is not host:port"),
        ({"net": {"listen": [":7777"]}}, "net.listen: ':7777' is not host:port"),
        ({"net": {"listen": ["localhost:ws"]}}, "net.listen: 'localhost:ws' is not host:port"),
        ({"net": {"listen": ["localhost:-1"]}}, "net.listen: 'localhost:-1' is not host:port"),
        ({"net": {"listen": ["localhost:²"]}}, "net.listen: 'localhost:²' is not host:port"),
        ({"net": {"listen": ["unix:"]}}, "net.listen: 'unix:' is not unix: and a path of at most 107 bytes"),
        (
            {"net": {"listen": [f"unix:/{'a' * 107}"]}},
            f"net.listen: 'unix:/{'a' * 107}' is not unix: and a path of at most 107 bytes",
        ),
        ({"net": {"listen": ["tls:443"]}}, "net.listen: 'tls:443' is not host:port"),
        ({"net": {"listen": ["tls:unix:/a"]}}, "net.listen: 'tls:unix:/a': TLS is not spoken on a Unix socket"),
        ({"net": {"listen": ["tls:[::]:443"]}}, "net.listen: tls: needs net.tls_certificate"),
        (
            {"net": {"listen": ["proxy:[::]:443"]}},
            "net.listen: proxy: needs net.trusted_proxies, since nobody else may connect there",
        ),
        ({"net": {"tls_certificate": "a"}}, "net.tls_certificate: needs net.tls_key, and the other way round"),
        ({"net": {"tls_key": "a"}}, "net.tls_certificate: needs net.tls_key, and the other way round"),
        (
            {"net": {"tls_certificate": "a", "tls_key": "b"}},
            "net.tls_certificate: needs an address in net.listen with tls: in front",
        ),
        ({"metrics": {"listen": "tls:[::]:443"}}, "metrics.listen: speaks plain HTTP alone"),
        (
            {"net": {"listen": ["127.0.0.1:7778"]}},
            "metrics.listen: 127.0.0.1:7778 is listened on already, by net.listen",
        ),
        (
            {"net": {"listen": ["unix:/run/a", "proxy:unix:/run/a"]}},
            "net.listen: proxy:unix:/run/a is listened on already, by net.listen",
        ),
        (
            {"net": {"listen": ["[::1]:9", "*:9"], "trusted_proxies": ["::1"]}},
            "net.listen: *:9 is listened on already, by net.listen",
        ),
        ({"net": {"hosts": ["a:80"]}}, "net.hosts: 'a:80' is no name of a host, nor *. and one"),
        ({"net": {"origins": ["https://a"]}}, "net.origins: 'https://a' is no name of a host, nor *. and one"),
        (
            {"net": {"paths": ["/health/"]}},
            "net.paths: the path /health is taken by the relay's answer to health checks",
        ),
        ({"metrics": {"listen": "unix:"}}, "metrics.listen: 'unix:' is not unix: and a path of at most 107 bytes"),
        ({"metrics": {"listen": "localhost:65536"}}, "metrics.listen: 'localhost:65536' is not host:port"),
        ({"log": {"level": "loud"}}, "log.level: invalid enum value 'loud'"),
        ({"store": {"path": ""}}, "store.path: expected `str` of length >= 1"),
        ({"relay": {"name": "n" * 30}}, "relay.name: expected `str` of length <= 29"),
        (
            {"relay": {"pubkey": "A" * 63}},
            "relay.pubkey: 'AAAAAAAAAAAAAAAAAAAAAAAA…' is no key: a key is 64 hex characters, or starts with npub1 or"
            " nprofile1",
        ),
        (
            {"policy": {"admins": ["npub1" + "q" * 58]}},
            "policy.admins: 'npub1qqqqqqqqqqqqqqqqqqq…' is no key: a character is missing or wrong",
        ),
        (
            {"policy": {"denied_pubkeys": ["nsec1" + "q" * 58]}},
            "policy.denied_pubkeys: a secret key (nsec1…) must stand nowhere but with its owner: give its npub",
        ),
        ({"policy": {"admins": [1]}}, "policy.admins: expected `str`, got `int`; a text stands in quotes"),
        ({"relay": {"url": "http://a/"}}, "relay.url: expected `str` matching regex '^(wss?://[^/?#]+(/[^?#]*)?)?$'"),
        ({"members": {"claims": ["open-sesame"]}}, "members.claims: needs members.enabled"),
        ({"members": {"enabled": True, "claims": ["sesame!"]}}, "members.claims: expected `str` of length >= 8"),
        ({"members": {"members_read": True}}, "members.members_read: needs members.enabled"),
        ({"members": {"receive_kinds": [9_735]}}, "members.receive_kinds: needs members.enabled"),
        (
            {"policy": {"challenge": "connect"}, "net": {"listen": ["*:7777"]}},
            "policy.challenge: needs relay.url, without which no client can authenticate (NIP-42)",
        ),
        (
            {"store": CLUSTER, "opensearch": {"api_key": "a2V5", "username": "relay"}},
            "opensearch.api_key: cannot be sent together with opensearch.username",
        ),
        (
            {"store": CLUSTER, "opensearch": {"password": "sesame"}},
            "opensearch.password: needs opensearch.username",
        ),
        (
            {"store": CLUSTER, "opensearch": {"ca_file": "ca.pem"}},
            "opensearch.ca_file: needs an https URL in opensearch.urls",
        ),
        (
            {"bus": {"url": "redis://localhost"}},
            'bus.url: needs store.backend = "opensearch", a store that several relays share',
        ),
        ({"bus": {"ca_file": "ca.pem"}}, "bus.ca_file: needs a rediss URL in bus.url"),
        (
            {"store": CLUSTER, "bus": {"url": "redis://localhost", "ca_file": "ca.pem"}},
            "bus.ca_file: needs a rediss URL in bus.url",
        ),
        ({"store": CLUSTER, "bus": {"url": "redis://localhost:70000"}}, "bus.url: needs a host and a valid port"),
        ({"store": CLUSTER, "bus": {"url": "redis://:6379"}}, "bus.url: needs a host and a valid port"),
        ({"bus": {"max_entries": 999}}, "bus.max_entries: expected `int` >= 1000"),
        ({"relay": {"url": "wss://a:b/"}}, "relay.url: must be a ws or wss URL with a host and a valid port"),
        (
            {"relay": {"url": "wss://a@b/"}},
            "relay.url: must not hold a user or a password, since the relay asks for none",
        ),
        (
            {"relay": {"url": "wss://a/health/"}},
            "relay.url: the path /health is taken by the relay's answer to health checks",
        ),
        (
            {"relay": {"url": "wss://a/", "also_known_as": ["wss://b/%68ealth"]}},
            "relay.also_known_as: the path /health is taken by the relay's answer to health checks",
        ),
        (
            {"relay": {"url": "wss://a/", "also_known_as": ["ws://b.onion/", "b.onion"]}},
            "relay.also_known_as: expected `str` matching regex '^wss?://[^/?#]+(/[^?#]*)?$'",
        ),
        (
            {"relay": {"also_known_as": ["ws://b.onion/"]}, "net": {"listen": ["*:7777"]}},
            "relay.also_known_as: needs relay.url, the first of the relay's names",
        ),
        (
            {"net": {"address_header": "CF-Connecting-IP"}},
            "net.address_header: needs net.trusted_proxies, or a Unix socket in net.listen",
        ),
        (
            {"net": {"address_header": "two words", "trusted_proxies": ["127.0.0.1"]}},
            'net.address_header: expected `str` matching regex "^[!#$%&\'*+.^_`|~0-9A-Za-z-]+$"',
        ),
        (
            {"limits": {"default_limit": 501, "max_limit": 500}},
            "limits.default_limit: must not be above limits.max_limit",
        ),
        (
            {"net": {"trusted_proxies": ["127.0.0.1", "proxy.example"]}},
            "net.trusted_proxies: 'proxy.example' does not appear to be an IPv4 or IPv6 network",
        ),
        ({"net": {"trusted_proxies": ["10.0.0.1/8"]}}, "net.trusted_proxies: 10.0.0.1/8 has host bits set"),
        ({"policy": {"denied_addresses": ["10.0.0.1/8"]}}, "policy.denied_addresses: 10.0.0.1/8 has host bits set"),
        ({"plugins": {"skip_networks": ["10.0.0.1/8"]}}, "plugins.skip_networks: 10.0.0.1/8 has host bits set"),
        ({"plugins": {"write": "a 'b"}}, "plugins.write: No closing quotation"),
        (
            {"policy": {"denied_addresses": ["203.0.113.7", "relay.example"]}},
            "policy.denied_addresses: 'relay.example' does not appear to be an IPv4 or IPv6 address",
        ),
        (
            {"opensearch": {"urls": ["http://["]}, "store": {"backend": "opensearch"}},
            "opensearch.urls: needs a host and a valid port",
        ),
        (
            {"relay": {"url": "wss://a..example"}},
            "relay.url: must be a ws or wss URL with a host and a valid port",
        ),
        (
            {"mirror": [{"url": "wss://a.example:0"}]},
            "mirror.url: wss://a.example:0 (table 1) must be a ws or wss URL with a host and a valid port",
        ),
        ({"net": {"max_connections_per_address": -1}}, "net.max_connections_per_address: expected `int` >= 0"),
        ({"net": {"outbox_bytes": 2_097_151}}, "net.outbox_bytes: must be at least twice limits.max_message_length"),
    ],
)
def test_what_cannot_be_is_refused_with_the_key_and_the_reason(source: dict[str, Any], message: str) -> None:
    assert _refusal(source) == message


def test_values_at_their_bounds_are_good() -> None:
    config = check(
        {
            "limits": {"default_limit": 500, "max_limit": 500, "max_message_length": 32_768},
            "net": {"outbox_bytes": 65_536, "listen": ["localhost:65535"], "grace_seconds": 0},
        }
    )
    assert config.limits.max_limit == 500
    assert config.net.listen == ("localhost:65535",)
    assert config.net.grace_seconds == 0.0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"limits = \n", "is not TOML: Invalid value (at line 1, column 10)"),
        (b"[limits]\n[limits]\n", "is not TOML: Cannot declare"),
        (b'relay.name = "\xff"\n', "is not TOML: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_its_name(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "relay.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(path, {})
    assert str(refused.value).startswith(f"{path} {reason}")


@pytest.mark.parametrize(
    "text",
    [
        "port = 7777\n",
        "limits = 5\n",
        "mirror = [1]\n",
        f"name = {'[' * 20_000}{']' * 20_000}\n",
        f"[limits]\nmax_limit = {'9' * 5_000}\n",
        f"[plugins.hooks_options]\n{'.'.join('a' * 2_000)} = 1\n",
        '[plugins]\nhooks = ".."\n',
        '[store]\npath = "relay\\u0000.db"\n',
    ],
    ids=["number", "table", "list", "deep", "digits", "dotted", "folder", "nul"],
)
def test_whatever_stands_in_a_file_is_refused_as_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        load(_toml(Path(), text), {}, with_hooks=True)


@pytest.mark.parametrize(
    ("variable", "text"),
    [("LIMITS__MAX_LIMIT", "9" * 5_000), ("MIRROR", "[" * 5_000), ("RELAY__NAME", os.fsdecode(b"caf\xe9"))],
    ids=["digits", "deep", "latin"],
)
def test_whatever_stands_in_a_variable_is_refused_as_what_it_is(variable: str, text: str) -> None:
    with pytest.raises(ConfigError):
        load(None, {f"TRIO_RELAY_{variable}": text})


@pytest.mark.parametrize("text", ["[net]\ngrace_seconds = inf\n", "[pipeline]\ndrain_seconds = inf\n"])
def test_an_end_that_never_comes_can_be_told_to_nobody(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(_toml(tmp_path, text), {})


def test_a_number_that_workers_cannot_be_told_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load(_toml(tmp_path, f"[pipeline]\nworkers = 2\n[limits]\nmax_content_length = {2**64}\n"), {})


def test_a_configuration_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    pipe, done = tmp_path / "relay.toml", threading.Event()
    os.mkfifo(pipe)

    def end_it() -> None:  # for who waits for it all the same
        while not done.wait(0.01):
            with suppress(OSError):
                os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))

    ending = threading.Thread(target=end_it)
    ending.start()
    try:
        with pytest.raises(ConfigError):
            load(pipe, {})
    finally:
        done.set()
        ending.join()


@pytest.mark.parametrize("key", ["allowed_pubkeys", "allowed_kinds"])
def test_files_in_which_nobody_is_allowed_do_not_allow_everybody(tmp_path: Path, key: str) -> None:
    (tmp_path / "empty").write_text("# nobody yet\n")
    with pytest.raises(ConfigError, match=rf"^policy\.{key}: would be empty"):
        load(_toml(tmp_path, f'[policy]\n{key} = ["file:{tmp_path}/empty"]\n'), {})


def test_a_file_that_is_not_there_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "none.toml", {})
    assert str(refused.value) == f"{tmp_path / 'none.toml'}: No such file or directory"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = _toml(tmp_path, '[limits]\nmax_filters = 3\nmax_limit = 600\n[relay]\nname = "file"\n')
    environment = {
        "TRIO_RELAY_LIMITS__MAX_FILTERS": "4",
        "TRIO_RELAY_NET__LISTEN": '["127.0.0.1:0"]',
        "TRIO_RELAY_NET__GRACE_SECONDS": "1.5",
        "TRIO_RELAY_RELAY__NAME": "plain words",
        "TRIO_RELAY_RELAY__CONTACT": '"mailto:quoted@example.com"',
        "TRIO_RELAY_STORE__PATH": "/var/lib/relay.db",
        "LIMITS__MAX_LIMIT": "1",
        "TRIO_RELAY": "1",
        "TRIO_RELAY_TEST_SOMETHING": "of another program",
    }
    config = load(path, environment)
    assert (config.limits.max_filters, config.limits.max_limit) == (4, 600)
    assert (config.net.listen, config.net.grace_seconds) == (("127.0.0.1:0",), 1.5)
    assert (config.relay.name, config.relay.contact) == ("plain words", "mailto:quoted@example.com")
    assert config.store.path == "/var/lib/relay.db"


@pytest.mark.parametrize("service", ["trio-relay", "trio-relay-metrics", "trio-relay-mirror", "trio-relay-relay-write"])
def test_what_kubernetes_tells_of_services_is_no_setting(service: str) -> None:
    """See its documentation of services, "Environment variables"."""
    name = service.upper().replace("-", "_")
    environment = {
        f"{name}_SERVICE_HOST": "10.0.0.11",
        f"{name}_SERVICE_PORT": "7777",
        f"{name}_SERVICE_PORT_NOSTR": "7777",
        f"{name}_PORT": "tcp://10.0.0.11:7777",
        f"{name}_PORT_7777_TCP": "tcp://10.0.0.11:7777",
        f"{name}_PORT_7777_TCP_PROTO": "tcp",
        f"{name}_PORT_7777_TCP_PORT": "7777",
        f"{name}_PORT_7777_TCP_ADDR": "10.0.0.11",
    }
    assert load(None, environment) == Config()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"TRIO_RELAY_NET__LISTN": "x:1"}, "net.listn: unknown key; the nearest known is net.listen"),
        ({"TRIO_RELAY_LIMITS__MAX_FILTERS": "many"}, "limits.max_filters: expected `int`, got `str`"),
        (
            {"TRIO_RELAY_LIMITS_MAX_FILTERS": "3"},
            "TRIO_RELAY_LIMITS_MAX_FILTERS: two underscores must stand between table and key",
        ),
        (
            {"TRIO_RELAY_NET_PORT": "7777"},
            "TRIO_RELAY_NET_PORT: two underscores must stand between table and key",
        ),
        ({"TRIO_RELAY_STOR__PATH": "x"}, "stor: unknown table; the nearest known is store"),
        (
            {"TRIO_RELAY_LIMITS__MAX_FILTERS": " "},
            "TRIO_RELAY_LIMITS__MAX_FILTERS: is empty; unset it, or give it a value",
        ),
        ({"TRIO_RELAY_LIMITS__MAX_FILTERS": "1979-05-27"}, "limits.max_filters: expected `int`, got `date`"),
        ({"TRIO_RELAY_LIMITS__MAX_FILTERS": "3\nmax_limit = 4"}, "limits.max_filters: expected `int`, got `str`"),
        ({"TRIO_RELAY_SYNC__ENABLED": "maybe"}, "sync.enabled: expected `bool`, got `str`"),
        ({"TRIO_RELAY_NET__LISTEN": "127.0.0.1:1"}, "net.listen: expected `array`, got `str`"),
        (
            {"TRIO_RELAY_POLICY__DENIED_WORDS": "[1]"},
            "policy.denied_words: expected `str`, got `int`; a text stands in quotes",
        ),
    ],
)
def test_the_environment_is_checked_as_the_file_is(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(None, environment)
    assert str(refused.value) == message


TEXTS = ["1234567890123456", "007", "1_000", "1e3", "0.5", "inf", "true", "no", "1979-05-27", "07:32:00"]
TEXTS += ["[1]", "{a = 1}", "[", "#x", "a # b", " a ", "", '"', "'a", '"a"\nb = "c"', "é\n"]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
def test_where_a_text_is_due_a_variable_is_one_whatever_it_looks_like(text: str) -> None:
    """A password, above all."""
    config = load(None, {"TRIO_RELAY_OPENSEARCH__PASSWORD": text, "TRIO_RELAY_OPENSEARCH__USERNAME": "1"})
    assert (config.opensearch.password, config.opensearch.username) == (text, "1")


@pytest.mark.parametrize("text", [text for text in TEXTS if "\n" not in text], ids=ascii)
def test_a_text_in_quotes_is_what_stands_in_them(text: str) -> None:
    assert load(None, {"TRIO_RELAY_RELAY__CONTACT": json.dumps(text)}).relay.contact == text


@pytest.mark.parametrize(
    ("text", "is_on"),
    [
        *((text, True) for text in ("true", "True", "YES", "on", " 1 ")),
        *((text, False) for text in ("false", "FALSE", "no", "Off", "0")),
    ],
)
def test_a_variable_says_yes_and_no_as_people_do(text: str, is_on: bool) -> None:
    assert load(None, {"TRIO_RELAY_STORE__SEARCH": text}).store.search is is_on


def test_a_number_where_a_text_is_due_is_refused_in_a_file_with_the_way_out(tmp_path: Path) -> None:
    """TOML has lost by then how it was written."""
    path = _toml(tmp_path, 'opensearch.username = "relay"\nopensearch.password = 0x1F\n')
    with pytest.raises(ConfigError) as refused:
        load(path, {})
    assert str(refused.value) == "opensearch.password: expected `str`, got `int`; a text stands in quotes"


def test_other_types_read_a_variable_as_a_file_would() -> None:
    environment = {
        "TRIO_RELAY_LIMITS__MAX_FILTERS": "1_0",
        "TRIO_RELAY_NET__GRACE_SECONDS": " 2 ",
        "TRIO_RELAY_POLICY__DENIED_WORDS": "['1', \"2\"]",
        "TRIO_RELAY_POLICY__RULES": "[{kinds = [1], max_age = 60}]",
        "TRIO_RELAY_LOG__LEVEL": '"debug"',
        "TRIO_RELAY_STORE__SYNCHRONOUS": "normal",
    }
    config = load(None, environment)
    assert (config.limits.max_filters, config.net.grace_seconds) == (10, 2.0)
    assert config.policy.denied_words == ("1", "2")
    assert [(rule.kinds, rule.max_age) for rule in config.policy.rules] == [((1,), 60)]
    assert (config.log.level, config.store.synchronous) == ("debug", "normal")


@pytest.mark.parametrize(
    ("text", "command"),
    [("", ""), ("true", "true"), ('"a b"', "a b"), ("a 'b c'", "a 'b c'"), (" ['a', 'b']", ("a", "b"))],
)
def test_a_variable_says_a_command_as_a_line_or_as_a_list(text: str, command: str | tuple[str, ...]) -> None:
    assert load(None, {"TRIO_RELAY_PLUGINS__WRITE": text}).plugins.write == command


def test_a_variable_cannot_mend_what_is_no_table(tmp_path: Path) -> None:
    path = _toml(tmp_path, "limits = 3\n")
    with pytest.raises(ConfigError, match=r"^limits: must be a table, \[limits\]$"):
        load(path, {"TRIO_RELAY_LIMITS__MAX_FILTERS": "4"})


def test_the_table_of_settings_has_every_field_of_every_section() -> None:
    fields = [
        (section.name, field.name)
        for section in msgspec.structs.fields(Config)
        for field in msgspec.structs.fields(options_of(section.name))
    ]
    assert sorted((setting.section, setting.key) for setting in SETTINGS) == sorted(fields)


def test_every_setting_is_described_and_every_number_has_a_unit() -> None:
    assert [s.environment for s in SETTINGS if not (s.description.endswith(".") and "\n" not in s.description)] == []
    assert [s.environment for s in SETTINGS if type(s.default) in (int, float) and not s.unit] == []


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: f"{setting.section}.{setting.key}")
def test_every_setting_can_be_overridden_by_its_variable(setting: Setting) -> None:
    value = [] if setting.is_listed else msgspec.to_builtins(setting.default)
    text = msgspec.json.encode(value).decode()  # JSON of these values is TOML
    assert load(None, {setting.environment: text}) == Config()


MIRRORS = """
[[mirror]]
url = "wss://one.example"
direction = "both"
filters = [{ kinds = [1], since = 5 }, { "#t" = ["nostr"] }]

[[mirror]]
url = "ws://two.example:7777"
"""


def test_a_table_that_may_come_several_times_has_defaults_each_time(tmp_path: Path) -> None:
    one, two = load(_toml(tmp_path, MIRRORS), {}).mirror
    assert (one.url, one.direction, one.filters[1]) == ("wss://one.example", "both", {"#t": ["nostr"]})
    assert (two.url, two.direction, two.filters) == ("ws://two.example:7777", "down", ())


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ({"mirror": [{"url": "wss://x.example:port"}]}, "mirror.url: wss://x.example:port (table 1) must be a ws or"),
        (
            {"mirror": [{"url": "wss://me:a/b@x.example"}]},
            "mirror.url: wss://… (table 1): the URL cannot be read: in a",
        ),
        ({"mirror": [{"url": "wss://x .example"}]}, "mirror.url: wss://x .example (table 1) must be a ws or wss URL"),
        (
            {
                "relay": {"url": "wss://me.example"},
                "mirror": [{"url": "wss://x.example"}, {"url": "wss://me.example/"}],
            },
            "mirror.url: wss://me.example/ (table 2) is this relay itself",
        ),
        ({"mirror": [{"url": "ws://localhost:7777"}]}, "mirror.url: ws://localhost:7777 (table 1) is this relay"),
        (
            {"mirror": [{"url": "wss://me:sesame@x.example", "filters": [{"kinds": 1}]}]},
            "mirror.filters: wss://x.example (table 1): kinds must be a list",
        ),
        (
            {"mirror": [{"url": "wss://x.example", "filters": [{}, {"limit": 5}]}]},
            "mirror.filters: wss://x.example (table 1): a filter of a mirror has no 'limit'",
        ),
        (
            {"mirror": [{"url": "wss://x.example", "key_file": "no such file"}]},
            "mirror.key_file: wss://x.example (table 1): no such file: No such file or directory",
        ),
        (
            {
                "mirror": [
                    {"url": "wss://x.example", "direction": "up"},
                    {"url": "wss://X.example/", "direction": "both"},
                ]
            },
            "mirror.url: two tables have wss://x.example in the same direction",
        ),
    ],
)
def test_a_mirror_that_cannot_be_is_refused(source: dict[str, Any], reason: str) -> None:
    assert _refusal(source).startswith(reason)


@pytest.mark.parametrize(
    ("listen", "url", "is_itself"),
    [
        ("127.0.0.1:7000", "ws://127.0.0.1:7000", True),
        ("127.0.0.1:7000", "ws://0.0.0.0:7000/path", True),
        ("0.0.0.0:7000", "ws://localhost:7000", True),
        ("[::]:7000", "ws://[::1]:7000", True),
        ("tls:0.0.0.0:443", "wss://127.0.0.1", True),
        ("10.0.0.1:80", "ws://10.0.0.1", True),
        ("127.0.0.1:7000", "ws://127.0.0.1:7001", False),
        ("10.0.0.1:7000", "ws://127.0.0.1:7000", False),
        ("0.0.0.0:7000", "ws://10.0.0.2:7000", False),
        ("unix:/run/relay", "ws://127.0.0.1:7000", False),
    ],
)
def test_a_mirror_of_an_address_that_this_relay_listens_on_is_refused(listen: str, url: str, is_itself: bool) -> None:
    tls = {"tls_certificate": "a", "tls_key": "b"} if listen.startswith("tls:") else {}
    source = {
        "relay": {"url": "wss://me.example"},
        "net": {"listen": [listen], **tls},
        "mirror": [{"url": url}],
    }
    if is_itself:
        assert _refusal(source) == f"mirror.url: {url} (table 1) is this relay itself"
    else:
        assert check(source).mirror[0].url == url


@pytest.mark.parametrize("key", ["retry_seconds", "silence_seconds"])
@pytest.mark.parametrize("seconds", ["inf", "nan", "1e9", "-1"])
def test_no_mirror_waits_for_ever(key: str, seconds: str, tmp_path: Path) -> None:
    text = f"[[mirror]]\nurl = 'wss://x.example'\n{key} = {seconds}\n"
    with pytest.raises(ConfigError, match=f"^mirror.{key}: "):
        load(_toml(tmp_path, text), {})


def test_a_relay_may_be_followed_by_one_table_and_fed_by_another() -> None:
    tables = [{"url": "wss://x.example", "direction": direction} for direction in ("down", "up")]
    assert len(check({"mirror": tables}).mirror) == 2


@pytest.mark.parametrize("text", ["", "nsec1", "f" * 64, "1" * 64 + "\nmore"])
def test_a_key_file_holds_a_key_and_nothing_else(text: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    source = {"mirror": [{"url": "wss://x.example", "key_file": str(path)}]}
    assert _refusal(source).endswith(f"{path} does not hold a secret key, hex or nsec1…, and nothing else")
    path.write_text("1" * 64 + "\n")
    assert check(source).mirror[0].key_file == str(path)


def test_a_file_may_begin_with_the_mark_that_some_editors_put_there(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_bytes(b'\xef\xbb\xbf[relay]\r\nname = "ours"\r\n')
    assert load(path, {}).relay.name == "ours"


def test_what_a_variable_hides_of_the_file_is_known(tmp_path: Path) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(
        '[relay]\nname = "same"\n[limits]\nmax_filters = 3\n[[mirror]]\nurl = "wss://x.example/"\n', encoding="utf-8"
    )
    variables = {
        "TRIO_RELAY_RELAY__NAME": "same",
        "TRIO_RELAY_RELAY__CONTACT": "mailto:me@x.example",  # of which the file says nothing
        "TRIO_RELAY_LIMITS__MAX_FILTERS": "4",
        "TRIO_RELAY_MIRROR": "[]",
    }
    assert load_whole(path, variables).overridden == {
        "limits.max_filters": "TRIO_RELAY_LIMITS__MAX_FILTERS",
        "mirror": "TRIO_RELAY_MIRROR",
    }
    assert load_whole(path, {}).overridden == {}


def test_a_variable_takes_the_place_of_all_tables_of_a_name(tmp_path: Path) -> None:
    said = {"TRIO_RELAY_MIRROR": "[{url = 'wss://three.example'}, {url = 'wss://four.example', direction = 'up'}]"}
    found = load(_toml(tmp_path, MIRRORS), said).mirror
    assert [(one.url, one.direction) for one in found] == [
        ("wss://three.example", "down"),
        ("wss://four.example", "up"),
    ]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("TRIO_RELAY_MIRROR__URL", "wss://x.example"),
        ("TRIO_RELAY_MIRROR", "wss://x.example"),
        ("TRIO_RELAY_MIRROR", ""),
    ],
)
def test_a_variable_of_such_tables_is_a_list_of_tables(variable: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{variable}: is for a list of tables, as in TRIO_RELAY_MIRROR="):
        load(None, {variable: text})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"mirror": {"url": "wss://x.example"}}, "mirror: must be a list of tables, [[mirror]]"),
        ({"mirror": ["wss://x.example"]}, "mirror: must be a list of tables, [[mirror]]"),
        ({"mirror": [{}, {"ulr": "wss://x.example"}]}, "mirror.ulr: unknown key; the nearest known is mirror.url"),
        ({"mirror": [{"url": "https://x.example"}]}, "mirror.url: expected `str` matching regex '^wss?://'"),
        ({"mirror": [{}]}, "mirror: object missing required field `url`"),
    ],
)
def test_what_is_wrong_in_such_a_table_is_told_like_anywhere_else(source: dict[str, Any], message: str) -> None:
    assert _refusal(source) == message


RETENTION = """
[[retention]]
kinds = [0, 3, [10000, 19999]]

[[retention]]
except_kinds = [5, 62]
authors = "others"
tags = { t = ["x", "y"] }
max_age_seconds = 7776000
"""


def test_rules_of_retention_are_read_in_their_order(tmp_path: Path) -> None:
    first, second = load(_toml(tmp_path, RETENTION), {}).retention
    assert (first.kinds, first.keeps_for_ever) == ((0, 3, (10_000, 19_999)), True)
    assert (second.except_kinds, second.authors, second.tags) == ((5, 62), "others", {"t": ("x", "y")})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"retention": [{"authors": "members"}]}, 'retention: rule 1: authors = "members" needs members.enabled'),
        (
            {"retention": [{"max_events": 5}, {"kinds": [1]}]},
            "retention: rule 2 governs nothing: rule 1 governs all that it selects",
        ),
        ({"retention": [{"kinds": [70_000]}]}, "retention.kinds: expected `int` <= 65535"),
        ({"retention": [{"kinds": [[1, 2, 3]]}]}, "retention.kinds: expected `array` of length <= 2"),
        ({"store": {"max_bytes": 5}}, "store.max_bytes: is 0 or 1048576 at least"),
    ],
)
def test_what_a_rule_of_retention_lacks_is_told(source: dict[str, Any], message: str) -> None:
    assert _refusal(source) == message


def test_a_setting_tells_its_bounds_and_choices() -> None:
    bounds = {f"{setting.section}.{setting.key}": setting.bounds for setting in SETTINGS}
    assert bounds["limits.max_limit"] == "≥ 1, ≤ 100000"
    assert bounds["net.ping_seconds"] == "> 0"
    assert bounds["store.synchronous"] == '"full" | "normal"'
    assert bounds["relay.description"] == ""


NPUB = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6"
HEX = "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d"


def test_a_key_may_be_written_in_each_of_its_spellings_wherever_one_is() -> None:
    """Every setting that is made of 64 hex characters is a key."""
    hexes = [setting for setting in settings() if _is_of_keys(setting)]
    assert {(setting.section, setting.key) for setting in hexes} == {
        ("relay", "pubkey"),
        ("policy", "admins"),
        ("policy", "allowed_pubkeys"),
        ("policy", "denied_pubkeys"),
    }
    for setting in hexes:
        value = NPUB if setting.key == "pubkey" else [HEX.upper(), NPUB]
        table = getattr(check({setting.section: {setting.key: value}}), setting.section)
        assert getattr(table, setting.key) == (HEX if setting.key == "pubkey" else (HEX, HEX))


def _is_of_keys(setting: Setting) -> bool:
    (field,) = (field for field in msgspec.structs.fields(options_of(setting.section)) if field.name == setting.key)
    return "[0-9a-f]{64}" in str(field.type)


@pytest.mark.parametrize(
    "listen", [["proxy:unix:/run/relay.sock"], ["tls:0.0.0.0:443", "127.0.0.1:7777"], ["proxy:tls:10.0.0.1:443"]]
)
def test_addresses_may_begin_with_what_connections_to_them_begin_with(listen: list[str]) -> None:
    tls = {"tls_certificate": "a", "tls_key": "b"} if "tls:" in str(listen) else {}
    proxies = {"trusted_proxies": ["10.0.0.0/8"]} if "10.0" in str(listen) else {}
    assert check({"net": {"listen": listen, **tls, **proxies}}).net.listen == tuple(listen)
    assert is_private(check({"net": {"listen": ["tls:127.0.0.1:443"], "tls_certificate": "a", "tls_key": "b"}}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"control": {"listen": "unix:/run/a.sock"}, "net": {"listen": ["proxy:unix:/run/../run/a.sock"]}},
            "control.listen: /run/a.sock is an address of net.listen or metrics.listen, too",
        ),
        (
            {"control": {"listen": "unix:/run/a.sock"}, "metrics": {"listen": "unix:/run/a.sock"}},
            "control.listen: /run/a.sock is an address of net.listen or metrics.listen, too",
        ),
        (
            {"store": {"path": "/s/relay.db"}, "net": {"listen": ["unix:/s/relay.db.sock"]}},
            "control.listen: /s/relay.db.sock is an address of net.listen or metrics.listen, too",
        ),
        (
            {"store": {"path": "/s/relay.db"}, "control": {"listen": "unix:/s/relay.db"}},
            "control.listen: /s/relay.db belongs to the store, /s/relay.db, and is not to be written over:"
            " name another file",
        ),
        (
            {"store": {"path": "/s/relay.db"}, "control": {"listen": "unix:/s/relay.db-wal"}},
            "control.listen: /s/relay.db-wal belongs to the store, /s/relay.db, and is not to be written over:"
            " name another file",
        ),
        (
            {"store": {"path": "/s/relay.db"}, "metrics": {"listen": "unix:/s/relay.db.lock"}},
            "net.listen: /s/relay.db.lock belongs to the store, /s/relay.db, and is not to be written over:"
            " name another file",
        ),
        ({"store": {"retention_seconds": 0.5}}, "store.retention_seconds: expected `float` >= 1.0"),
        ({"retention": [{"max_age_seconds": 2**60}]}, "retention.max_age_seconds: expected `int` <= 8589934591"),
        ({"store": {"archive_seconds": 2**60}}, "store.archive_seconds: expected `int` <= 8589934591"),
    ],
)
def test_a_socket_has_a_place_of_its_own_and_ages_fit(source: dict[str, Any], message: str) -> None:
    assert _refusal(source) == message


def test_the_control_line_may_lie_where_it_does_by_default_or_anywhere_else() -> None:
    for place in ("", "off", "unix:/s/relay.db.sock", "unix:/run/relay.sock"):
        check({"store": {"path": "/s/relay.db"}, "control": {"listen": place}})
