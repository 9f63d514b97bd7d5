"""What the answers of a new operator mean, and the configuration that they make."""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.authority import certified, written
from tests.support.keys import ALICE, BOB
from trio_relay import config, first_config
from trio_relay.cli import main

pytestmark = pytest.mark.usefixtures("own_logging")

NPUB = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6"


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `init --yes` in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["init", "--yes", *arguments], prog_name="trio-relay")

    return run


def made(*, url: str = "", admin: str = "", store: str = "data/relay.db", **reach: object) -> config.Config:
    """The configuration of a relay with this reach, checked as a start checks it."""
    answers = first_config.FirstAnswers(
        "any",
        first_config.RelayReach(url, **reach),  # type: ignore[arg-type]  # each test gives its own
        first_config.Writing(),
        store,
        admin,
    )
    return config.check(tomllib.loads(answers.toml()))


@given(st.text())
@example('\x7f\\"\t\x00\r\n# [net]')
def test_any_text_is_written_so_that_toml_reads_the_same(text: str) -> None:
    answers = first_config.FirstAnswers(text, first_config.RelayReach(), first_config.Writing(), text or "x", "")
    read = tomllib.loads(answers.toml())
    assert read.get("relay", {}).get("name", "") == text
    assert read["store"].get("path", "x") == (text or "x") or "://" in text


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=29))
def test_a_name_that_is_taken_is_the_name_of_the_relay(name: str) -> None:
    answers = first_config.FirstAnswers(
        first_config.read_name(f" {name}\n"), first_config.RelayReach(), first_config.Writing(), "relay.db", ""
    )
    assert config.check(tomllib.loads(answers.toml())).relay.name == name


@pytest.mark.parametrize(
    ("reach", "listen"),
    [
        ({}, "127.0.0.1:7777"),
        ({"url": "wss://relay.example/", "proxies": ["127.0.0.1", "::1"]}, "127.0.0.1:7777"),
        ({"url": "wss://relay.example/", "proxies": ["127.0.0.1", "10.0.0.0/8"]}, "*:7777"),
        ({"url": "ws://relay.example"}, "*:80"),
        ({"url": "ws://relay.example:4848/path"}, "*:4848"),
        ({"url": "ws://localhost:4848/"}, "127.0.0.1:4848"),
        ({"url": f"ws://{'a' * 56}.onion/"}, "127.0.0.1:7777"),
    ],
)
def test_a_relay_listens_where_its_clients_or_its_proxy_come_from(reach: dict[str, object], listen: str) -> None:
    assert made(**reach).net.listen == (listen,)  # type: ignore[arg-type]


@pytest.mark.parametrize(("url", "listen"), [("wss://relay.example/", "tls:*:443"), ("wss://a.b:8443", "tls:*:8443")])
def test_a_relay_that_speaks_tls_itself_has_its_certificate_and_no_proxy(url: str, listen: str) -> None:
    net = made(url=url, tls="relay", certificate="a.pem", certificate_key="b.pem", proxies=["10.0.0.1"]).net
    assert (net.listen, net.tls_certificate, net.tls_key) == ((listen,), "a.pem", "b.pem")
    assert net.trusted_proxies == ()


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("local", ""),
        (" wss://relay.example.org/ ", "wss://relay.example.org/"),
        ("relay.example.org", "wss://relay.example.org"),
        ("relay.example.org:8443", "wss://relay.example.org:8443"),
        ("WSS://relay.example.org", "wss://relay.example.org"),
        ("ws://10.0.0.1:80/path", "ws://10.0.0.1:80/path"),
    ],
)
def test_an_address_is_a_url_or_a_host_or_local(typed: str, url: str) -> None:
    assert first_config.read_address(typed) == url


READERS: list[tuple[Callable[[str], object], str, str]] = [
    (first_config.read_name, "  ", "a relay needs a name"),
    (first_config.read_name, "n" * 30, "30 characters: 29 at most"),
    (first_config.read_name, "a\x07b", "cannot be seen"),
    (first_config.read_name, "a\udcffb", "cannot be seen"),
    (first_config.read_address, "", "is neither wss:// and a host, nor local"),
    (first_config.read_address, "https://relay.example", "clients type wss://relay.example"),
    (first_config.read_address, "http://relay.example", "clients type ws://relay.example"),
    (first_config.read_address, "wss://me:secret@relay.example", "is neither"),
    (first_config.read_address, "wss://relay.example:99999", "is neither"),
    (first_config.read_address, "wss://a..b", "is neither"),
    (first_config.read_address, "ws://relay.example:0", "is neither"),
    (first_config.read_address, "wss://relay.example/?a=b", "no ? and no #"),
    (first_config.read_tls, "nobody", "one of these: proxy, relay"),
    (first_config.read_tls, "", "one of these: proxy, relay"),
    (first_config.read_proxies, " ", "127.0.0.1 where it is on this machine"),
    (first_config.read_proxies, "127.0.0.1 somewhere", "'somewhere' does not appear to be an IPv4 or IPv6 network"),
    (lambda text: first_config.read_writers(text, ""), "members", "needs a public address, not local"),
    (lambda text: first_config.read_writers(text, ""), "nobody", "one of these: everyone, listed, members, trust"),
    (first_config.read_keys, ",", "one key at least"),
    (first_config.read_keys, "nsec1abc", "a secret key (nsec1…) must stand nowhere but with its owner"),
    (first_config.read_store, "", "events need a place"),
    (first_config.read_store, "https://me:sesame@search", "no user and no password in the URL"),
    (first_config.read_store, "redis://here", "is no URL of OpenSearch"),
    (first_config.read_store, "http://[", "is no URL of OpenSearch"),
    (first_config.read_store, "http://here:0", "is no URL of OpenSearch"),
    (first_config.read_store, "http://a..b:9200", "is no URL of OpenSearch"),
    (lambda text: first_config.read_admin(text, is_needed=True), "none", "begins with the admin's follows"),
    (lambda text: first_config.read_admin(text, is_needed=True), "", "begins with the admin's follows"),
    (lambda text: first_config.read_admin(text, is_needed=False), "me@example.org", "a name (NIP-05), not a key"),
    (lambda text: first_config.read_admin(text, is_needed=False), "npub1", "is no key"),
]


@pytest.mark.parametrize(("read", "typed", "reason"), READERS, ids=range(len(READERS)))
def test_an_answer_that_will_not_do_is_told_in_a_sentence(
    read: Callable[[str], object], typed: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as refused:
        read(typed)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(("typed", "writers"), [("everyone", "everyone"), ("L", "listed"), (" t ", "trust")])
def test_a_word_is_taken_by_its_beginning(typed: str, writers: str) -> None:
    assert first_config.read_writers(typed, "") == writers


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--writers", "listed", "--keys", f"{ALICE.pubkey}, {NPUB}"], {"allowed_pubkeys": 2, "admins": 0}),
        (["--writers", "trust", "--admin", NPUB], {"trust_depth": 2, "admins": 1}),
        (["--writers", "everyone", "--admin", BOB.pubkey], {"allowed_pubkeys": 0, "admins": 1}),
    ],
)
def test_who_may_write_and_who_manages_is_as_it_was_said(
    init: Callable[..., Result], options: list[str], expected: dict[str, int]
) -> None:
    assert init(*options).exit_code == 0
    policy = config.load(Path("relay.toml"), {}).policy
    found = {key: getattr(policy, key) for key in expected}
    assert {key: len(value) if isinstance(value, tuple) else value for key, value in found.items()} == expected


def test_members_get_a_code_which_is_told_and_written(init: Callable[..., Result]) -> None:
    told = [init("--force", "--address", "relay.example", "--writers", "members").stdout for _ in range(2)]
    members = config.load(Path("relay.toml"), {}).members
    [claim] = members.claims
    assert members.enabled
    assert claim in told[1]
    assert claim not in told[0]


def test_opensearch_is_migrated_first(init: Callable[..., Result]) -> None:
    ended = init("--store", "https://search.example:9200")
    found = config.load(Path("relay.toml"), {})
    assert (found.store.backend, found.opensearch.urls) == ("opensearch", ("https://search.example:9200",))
    assert ended.stdout.index("trio-relay migrate") < ended.stdout.index("trio-relay --config")


def test_a_certificate_is_looked_at_before_it_is_written_down(tmp_path: Path, init: Callable[..., Result]) -> None:
    right, other = (tmp_path / "a", tmp_path / "b")
    right.mkdir()
    other.mkdir()
    good, bad = written(right, certified()), written(other, certified())
    given = ["--address", "wss://relay.example", "--tls", "relay", "--certificate", good["tls_certificate"]]
    ended = init(*given, "--certificate-key", bad["tls_key"])
    assert (ended.exit_code, Path("relay.toml").exists()) == (2, False)
    assert ended.stderr == "trio-relay: --certificate-key: the key is not the one of the certificate\n"
    assert init(*given, "--certificate-key", good["tls_key"]).exit_code == 0
    assert config.load(Path("relay.toml"), {}).net.tls_key == good["tls_key"]
    ended = init("--force", *given[:-1], "none.pem")
    assert (ended.exit_code, ended.stderr) == (2, "trio-relay: --certificate: none.pem is no file\n")


@pytest.mark.parametrize(
    ("store", "reason"),
    [
        (".", "is a folder"),
        ("data/", "is a folder"),
        ("~nobody.here/relay.db", "whose home is that?"),
        ("s" * 300, "File name too long"),
        ("file/relay.db", "file is no folder"),
        ("relay.toml", "belongs to the store"),
    ],
)
def test_a_store_that_cannot_lie_there_is_refused(init: Callable[..., Result], store: str, reason: str) -> None:
    Path("file").write_text("")
    ended = init("--store", store)
    assert (ended.exit_code, Path("relay.toml").exists()) == (2, False)
    assert ended.stderr.startswith("trio-relay: --store: ")
    assert reason in ended.stderr


def test_the_file_is_for_its_owner_and_is_not_written_over(init: Callable[..., Result]) -> None:
    assert init("--name", "first").exit_code == 0
    assert stat.S_IMODE(Path("relay.toml").stat().st_mode) == 0o600
    ended = init("--name", "second")
    assert (ended.exit_code, ended.stderr) == (
        2,
        "trio-relay: relay.toml is there already; --force writes over it\n",
    )
    assert config.load(Path("relay.toml"), {}).relay.name == "first"
    assert init("--name", "second", "--force").exit_code == 0
    assert config.load(Path("relay.toml"), {}).relay.name == "second"


def test_where_nothing_can_be_written_that_is_said(init: Callable[..., Result]) -> None:
    ended = init("--config", "none/relay.toml")
    assert (ended.exit_code, ended.stderr) == (
        1,
        "trio-relay: cannot write none/relay.toml: No such file or directory\n",
    )


def test_bytes_that_are_no_text_are_no_answer(init: Callable[..., Result]) -> None:
    ended = init("--store", "data/\udcff.db")
    assert (ended.exit_code, ended.stderr) == (2, "trio-relay: --store: that is no UTF-8\n")


@pytest.mark.parametrize("options", [[], ["--name", "mine", "--address", "local"]])
def test_without_a_terminal_nobody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = CliRunner().invoke(main, ["init", *options], prog_name="trio-relay")
    assert (ended.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert ended.stderr == ("trio-relay: nobody can be asked here: answer by options, or take the defaults by --yes\n")


def test_options_that_answer_every_question_need_no_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--name=a", "--address=local", "--writers=everyone", "--store=relay.db", "--admin=none"]
    ended = CliRunner().invoke(main, ["init", *options], prog_name="trio-relay")
    assert ended.exit_code == 0, ended.stderr
    checked = CliRunner().invoke(main, ["check-config", "--config", "relay.toml"], prog_name="trio-relay")
    assert (checked.exit_code, checked.stdout) == (0, "relay.toml is good\n")


def test_what_comes_next_are_commands_that_there_are(init: Callable[..., Result]) -> None:
    ended = init("--store", "http://localhost:9200", "--admin", NPUB)
    commands = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("  trio-relay ")]
    assert {name for name in commands if not name.startswith("-")} == {"migrate", "check-config", "admin-link"}
    assert set(commands) <= {*main.commands, "--config"}


def test_a_store_at_home_lies_there(init: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert init("--store", "~/relay.db").exit_code == 0
    assert config.load(Path("relay.toml"), {}).store.path == "/somewhere/relay.db"
