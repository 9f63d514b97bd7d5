"""What operators are shown of the configuration: all of it, with where it comes from, and nothing that is secret."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import rules_for
from trio_relay import Rules
from trio_relay.config import Config, ConfigRead, load_whole, settings
from trio_relay.net import admin
from trio_relay.policy import lists
from trio_relay.shown_settings import HIDDEN, masked, shown_settings

NOBODY: Any = None


def told(path: Path | None, environment: dict[str, str], rules: Rules | None = None) -> dict[str, dict[str, Any]]:
    """What `listsettings` says of each setting, by its whole name."""
    whole = load_whole(path, environment)
    shown = shown_settings(path, environment, whole)
    rules = rules or Rules(options=whole.config.policy)
    call = admin.params.Call("listsettings", [], admin.params.OPERATOR, "", NOW, rules, NOBODY, NOBODY, NOBODY, shown)
    listed = json.loads(msgspec.json.encode(admin.methods.carry_out(call).result))
    return {f"{one['section']}.{one['key']}": one for one in listed}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "relay.toml"
    path.write_text(text)
    return path


def test_every_setting_is_told_with_its_default_and_what_it_is() -> None:
    found = told(None, {})
    assert list(found) == [f"{setting.section}.{setting.key}" for setting in settings()]
    assert {one["from"] for one in found.values()} == {"default"}
    limit = found["limits.max_limit"]
    assert limit["value"] == limit["default"]
    assert (limit["variable"], limit["method"]) == ("TRIO_RELAY_LIMITS__MAX_LIMIT", None)
    assert all(one["text"] for one in found.values())
    assert found["net.ping_seconds"]["unit"] == "seconds"


def test_where_a_setting_comes_from_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "[limits]\nmax_filters = 5\nmax_limit = 600\n")
    found = told(path, {"TRIO_RELAY_LIMITS__MAX_LIMIT": "700"})
    filters, limit = found["limits.max_filters"], found["limits.max_limit"]
    assert (filters["value"], filters["from"], filters["file"]) == (5, "file", str(path))
    assert (limit["value"], limit["from"], "file" in limit) == (700, "variable", False)


def test_of_a_table_that_comes_several_times_each_value_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, "[[mirror]]\nurl = 'wss://me:sesame@one.example'\n[[mirror]]\nurl = 'wss://two.example'\n")
    found = told(path, {})
    assert found["mirror.url"]["value"] == [f"wss://{HIDDEN}@one.example", "wss://two.example"]
    assert (found["mirror.url"]["from"], found["mirror.url"]["default"]) == ("file", None)
    assert (found["mirror.direction"]["value"], found["mirror.direction"]["from"]) == (["down", "down"], "default")
    assert found["mirror.url"]["variable"] == "TRIO_RELAY_MIRROR"
    assert told(path, {"TRIO_RELAY_MIRROR": "[]"})["mirror.url"]["value"] == []


def test_what_operators_have_changed_is_in_force(tmp_path: Path) -> None:
    rules = rules_for()
    rules.apply([lists.Change(lists.ListName.IDENTITY, "name", lists.ListEntry("a club"))])
    found = told(written(tmp_path, '[relay]\nname = "a pub"\n'), {}, rules)
    name, icon = found["relay.name"], found["relay.icon"]
    assert (name["value"], name["from"], name["method"]) == ("a club", "NIP-86", "changerelayname")
    assert (icon["from"], icon["method"]) == ("default", "changerelayicon")
    assert found["policy.denied_words"]["adds"] == "denyword"


def test_a_list_in_a_file_is_told_as_it_was_read_last_and_no_longer_than_people_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("\n".join(f"word {number}" for number in range(150)))
    path = written(tmp_path, '[policy]\ndenied_words = "file:words.txt"\n')
    words = told(path, {})["policy.denied_words"]
    assert (len(words["value"]), words["more"], words["files"]) == (100, 50, ["words.txt"])
    read_again = told(path, {}, rules_for(denied_words=("one",)))["policy.denied_words"]
    assert (read_again["value"], "more" in read_again) == (["one"], False)


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (*texts_in(key), *texts_in(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)


SECRET = st.text(st.sampled_from("ЖЩЮ@:/?#&%\"'\\ \n"), min_size=9, max_size=20).filter(lambda text: "Ж" in text[3:-1])


def source_of(secret: str) -> dict[str, dict[str, Any]]:
    """A configuration that says this wherever something secret may stand."""
    return {
        "members": {"enabled": True, "claims": [secret]},
        "opensearch": {"password": secret, "api_key": secret, "urls": [f"https://me:{secret}@search.example"]},
        "bus": {"url": f"redis://me:{secret}@bus.example:6379/0"},
        "plugins": {"hooks_options": {"token": secret, secret: [secret]}},
    }


@given(SECRET)
def test_nothing_secret_is_left_of_any_value(secret: str) -> None:
    """Its letters stand in no setting's text, so any one of them that is told would be of the secret."""
    source = source_of(secret)
    found = [masked(f"{table}.{key}", value) for table, keys in source.items() for key, value in keys.items()]
    assert "Ж" not in "".join(text for value in found for text in texts_in(value))


@pytest.mark.parametrize("secret", ["ЖЖЖЖЖЖЖЖ", "Ж@Ж/Ж:Ж?Ж#Ж"])
def test_nothing_secret_is_told(secret: str) -> None:
    config, environment = Config(), {"TRIO_RELAY_OPENSEARCH__PASSWORD": secret}
    for table, keys in source_of(secret).items():
        config = structs.replace(config, **{table: structs.replace(getattr(config, table), **keys)})
    shown = shown_settings(None, environment, ConfigRead(config, frozenset(), {}))()
    assert "Ж" not in "".join(texts_in(msgspec.to_builtins(shown)))
    values = {f"{one.section}.{one.key}": (one.value, one.more) for one in shown}
    assert values["members.claims"] == values["opensearch.password"] == (HIDDEN, 0)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("redis://bus.example/0", "redis://bus.example/0"),
        ("redis://:pass@bus.example/0", "redis://(secret)@bus.example/0"),
        ("redis://me:p@ss/word@bus.example/0", "redis://(secret)@bus.example/0"),
        ("", ""),
        (5, 5),
        (["https://a:b@c", "x"], ["https://(secret)@c", "x"]),
    ],
)
def test_of_a_url_all_but_its_password_is_told(value: object, told: object) -> None:
    assert masked("bus.url", value) == told


def test_keys_are_no_secret() -> None:
    found = told(None, {"TRIO_RELAY_POLICY__DENIED_PUBKEYS": json.dumps([ALICE.pubkey, BOB.pubkey])})
    assert found["policy.denied_pubkeys"]["value"] == [ALICE.pubkey, BOB.pubkey]
