"""`trio-relay why`: explanations of requests and events, beside a relay or without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from click.testing import CliRunner, Result

from tests.support.keys import ALICE, BOB, CAROL, NOW
from trio_relay import SqliteOptions, cli, open_sqlite
from trio_relay.policy import lists
from trio_relay.store import sqlite

pytestmark = pytest.mark.usefixtures("own_logging")

NOTE = ALICE.event("tea", created_at=NOW)
SECRET = ALICE.event("?iv=", kind=4, created_at=NOW, tags=[["p", BOB.pubkey]])
FOLLOWS = ALICE.event(kind=3, created_at=NOW, tags=[["p", BOB.pubkey]])
BAN = {f"{lists.ListName.BANNED_PUBKEYS}/{CAROL.pubkey}": msgspec.json.encode(lists.ListEntry("spam"))}

Why = Callable[..., Result]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with three events and a ban, which no question changes."""
    options = SqliteOptions(path=str(tmp_path_factory.mktemp("why") / "relay.db"))

    async def fill() -> None:
        async with open_sqlite(options) as store:
            await store.save_many([NOTE, SECRET, FOLLOWS])
            await store.put_metadata(BAN)

    trio.run(fill)
    return options.path


@pytest.fixture
def why(file: str) -> Why:
    """Runs the command on that store."""

    def run(*arguments: str, stdin: bytes = b"", **settings: str) -> Result:
        environment = {f"TRIO_RELAY_{name.upper()}": text for name, text in settings.items()}
        environment |= {"TRIO_RELAY_STORE__PATH": file, "COLUMNS": "120"}
        return CliRunner().invoke(cli.main, ["why", *arguments], stdin, env=environment, prog_name="trio-relay")

    return run


def text_of(value: object) -> str:
    return msgspec.json.encode(value).decode()


def record(result: Result) -> Any:
    assert (result.exit_code, result.stderr) == (0, "")
    return msgspec.json.decode(result.stdout)


ASKED = {"kinds": [1, 4]}


@pytest.mark.parametrize("question", [ASKED, [ASKED], ["REQ", "a", ASKED], ["COUNT", "", ASKED]])
def test_a_request_in_any_of_its_forms_is_explained(why: Why, question: object) -> None:
    told = record(why(text_of(question), "--json"))
    assert told["verdict"] == {"accepted": True, "reason": "", "setting": ""}
    assert [(one["filter"], one["found"], one["hidden"]) for one in told["filters"]] == [(ASKED, 1, 1)]
    told = record(why(text_of(question), "--json", "--key", BOB.pubkey))
    assert [(one["found"], one["hidden"]) for one in told["filters"]] == [(2, 0)]


def test_what_is_told_of_a_request_can_be_read(why: Why) -> None:
    accepted, _, asked, *plan, last = why('{"kinds":[1],"limit":5}').stdout.splitlines()
    assert (accepted, asked) == ("accepted", 'filter 1: {"kinds":[1],"limit":5}')
    assert [line.split()[0] for line in plan] == ["index", "event_kind", "expiry"]
    assert last.startswith("1 found, 1 looked at, ")
    assert last.endswith(" ms; 0 more are hidden from this reader")
    refused, *_ = why('{"kinds":[1],"x":"[red]\\u001b[2J"}').stdout.splitlines()
    assert refused == "refused: unsupported: filter key 'x' is not known here"


def test_an_event_is_judged_by_the_configuration_and_by_what_operators_have_decided(why: Why) -> None:
    banned = CAROL.event("hello", created_at=NOW)
    told = record(why(text_of(banned), "--json"))
    assert told["verdict"] == {
        "accepted": False,
        "reason": "blocked: the author of this event is banned here",
        "setting": "listbannedpubkeys",
    }
    assert (told["store"], told["subscriptions"]) == ("new", None)
    told = record(why("-", "--json", stdin=msgspec.json.encode(["EVENT", NOTE]), policy__denied_kinds="[1]"))
    assert (told["verdict"]["setting"], told["store"], told["by"]) == ("policy.denied_kinds", "duplicate", NOTE.id)


@pytest.mark.parametrize(("author", "is_trusted"), [(ALICE, True), (BOB, True), (CAROL, False)])
def test_the_web_of_trust_counts(why: Why, author: Any, is_trusted: bool) -> None:
    settings = {"policy__trust_depth": "1", "policy__admins": f'["{ALICE.pubkey}"]'}
    told = record(why(text_of(author.event("x", created_at=NOW)), "--json", **settings))
    (key,) = [one for one in told["checks"] if one["check"] == "key"]
    assert key["accepted"] is is_trusted


def test_what_is_told_of_an_event_can_be_read(why: Why) -> None:
    lines = why(text_of(NOTE)).stdout.splitlines()
    assert lines[0] == "accepted: duplicate: already have this event"
    assert lines[-1] == f"store: duplicate, by {NOTE.id}"
    assert ["sizes", "passed"] in [line.split()[:2] for line in lines]


@pytest.mark.parametrize("question", ["", "7", "[]", '["REQ","x"]', '["CLOSE","x"]', '"x"', "[" * 100_000, "[{},7]"])
def test_what_asks_nothing_is_refused(why: Why, question: str) -> None:
    result = why(question)
    expected = "trio-relay: the question is neither a filter, a list of filters, a REQ nor an event in JSON\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", expected)


def test_a_key_that_is_none_and_a_store_that_forgets_are_refused(why: Why) -> None:
    assert why("{}", "--key", "me").exit_code == 2
    assert why("{}", store__backend="memory").exit_code == 2


async def test_it_can_be_asked_while_the_file_is_in_use(tmp_path: Path) -> None:
    options = SqliteOptions(path=str(tmp_path / "relay.db"))
    async with open_sqlite(options) as store:
        await store.save_many([NOTE])
        async with sqlite.open_sqlite_for_reading(options) as reader:
            assert (await reader.tally()).events == 1
            assert (await reader.foresee(NOTE)).name == "DUPLICATE"
