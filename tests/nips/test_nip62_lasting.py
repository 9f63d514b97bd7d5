"""NIP-62: a request to vanish holds for ever, whatever is started again and whichever way events come in."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
from click.testing import CliRunner

from tests.support.event_lines import jsonl
from tests.support.indices import make, options_for
from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.named_relay import URL, open_client, open_named
from trio_relay import SqliteOptions, Store, open_opensearch, open_sqlite
from trio_relay.cli import main
from trio_relay.nostr.event import Event, encode

Opening: TypeAlias = Callable[[], AbstractAsyncContextManager[Store]]

GONE = [False, "blocked: its author has asked to vanish"]
OF_THE_SECOND, NEWER = ALICE.event("tea", created_at=NOW + 5), ALICE.event("tea", created_at=NOW + 6)
NOTE, UNSEEN, OF_BOB = ALICE.event("tea"), ALICE.event("never seen", created_at=0), BOB.event("tea")
DELETION = ALICE.event(kind=5, tags=[["e", NOTE.id]])
WRAP = Author("nobody").event("sealed", kind=1_059, tags=[["p", BOB.pubkey], ["p", ALICE.pubkey]])
OLD = [NOTE, UNSEEN, DELETION, WRAP, OF_THE_SECOND]
REQUEST = ALICE.event(kind=62, created_at=NOW + 5, tags=[["relay", URL]])
UNDOING = ALICE.event(kind=5, created_at=NOW + 6, tags=[["e", REQUEST.id]])


@pytest.fixture(params=["sqlite", "opensearch"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Opens the same store each time; memory has nothing to open again."""
    if request.param == "sqlite":
        return lambda: open_sqlite(SqliteOptions(path=str(tmp_path / "relay.db")))
    options = options_for(request.getfixturevalue("node"), request.getfixturevalue("prefix"))
    trio.run(make, options)
    return lambda: open_opensearch(options)


@pytest.mark.slow
def test_a_relay_that_is_started_again_admits_nothing_of_it(opening: Opening) -> None:
    async def run() -> None:
        with trio.fail_after(60):
            async with opening() as store, open_named(store) as door, open_client(door) as client:
                for event in (NOTE, WRAP, OF_BOB, REQUEST, UNDOING):
                    assert await client.publish(event) == [True, ""]
            for _ in range(2):
                async with opening() as store, open_named(store) as door, open_client(door) as client:
                    for event in OLD:
                        assert await client.publish(event) == GONE
                    assert await client.ask({"kinds": [1, 62]}) == [REQUEST.id, OF_BOB.id]
            async with opening() as store, open_named(store) as door, open_client(door) as client:
                assert await client.publish(NEWER) == [True, ""]
                assert await client.ask({"kinds": [1]}) == [NEWER.id, OF_BOB.id]

    trio.run(run)


def imported(store: Path, *events: Event, options: tuple[str, ...] = ()) -> list[str]:
    """What `trio-relay import` says of these."""
    environment = {"TRIO_RELAY_STORE__PATH": str(store), "TRIO_RELAY_RELAY__URL": URL}
    lines = jsonl(events)
    ended = CliRunner().invoke(main, ["import", *options], input=lines, env=environment)
    assert ended.exit_code == 0, ended.output
    return ended.stdout.splitlines()


def exported(store: Path) -> bytes:
    return CliRunner().invoke(main, ["export"], env={"TRIO_RELAY_STORE__PATH": str(store)}).stdout_bytes


@pytest.mark.usefixtures("own_logging")
@pytest.mark.parametrize("options", [(), ("--backup",)], ids=["another's events", "a backup"])
def test_no_import_brings_it_back(options: tuple[str, ...], tmp_path: Path) -> None:
    store = tmp_path / "relay.db"
    assert imported(store, NOTE, WRAP, OF_BOB)[0].startswith("3 events: 3 stored, ")
    assert imported(store, REQUEST)[0].startswith("1 events: 1 stored, ")
    assert imported(store, *OLD, NEWER, REQUEST, options=options) == [
        "7 events: 1 stored, 1 known, 0 superseded, 0 ephemeral, 5 gone, 0 refused",
        "  5 gone: its author has asked to vanish",
    ]
    assert exported(store) == jsonl((OF_BOB, REQUEST, NEWER))


@pytest.mark.usefixtures("own_logging")
def test_what_stood_in_one_import_with_its_request_vanishes_in_any_order(tmp_path: Path) -> None:
    for name, events in (("before", [*OLD, REQUEST, OF_BOB]), ("after", [REQUEST, *OLD, OF_BOB])):
        imported(tmp_path / name, *events)
        assert sorted(exported(tmp_path / name).splitlines()) == sorted([encode(REQUEST), encode(OF_BOB)])


@pytest.mark.usefixtures("own_logging")
def test_an_export_takes_the_request_along(tmp_path: Path) -> None:
    imported(tmp_path / "first.db", NOTE, REQUEST)
    (line,) = exported(tmp_path / "first.db").splitlines()
    assert line == encode(REQUEST)
    imported(tmp_path / "second.db", REQUEST)
    assert imported(tmp_path / "second.db", NOTE)[1:] == ["  1 gone: its author has asked to vanish"]


@pytest.mark.usefixtures("own_logging")
def test_an_import_heeds_no_request_to_other_relays(tmp_path: Path) -> None:
    elsewhere = ALICE.event(kind=62, created_at=NOW + 5, tags=[["relay", "wss://other.example/"]])
    assert imported(tmp_path / "relay.db", NOTE, elsewhere, options=("--lenient",)) == [
        "2 events: 1 stored, 0 known, 0 superseded, 0 ephemeral, 0 gone, 1 refused",
        "  1 refused: this request to vanish names other relays only (NIP-62) (line 2)",
    ]
    assert exported(tmp_path / "relay.db") == encode(NOTE) + b"\n"
