"""The state beside the events: the options of `export` and `import`, and what each refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from tests.support.keys import ALICE, BOB
from trio_relay import SqliteOptions, open_relay, open_sqlite
from trio_relay.cli import main
from trio_relay.nostr import event, signer
from trio_relay.policy.lists import ListName

pytestmark = [pytest.mark.usefixtures("own_logging"), pytest.mark.slow]

SECRET, ANOTHER = bytes(31) + b"\x01", bytes(31) + b"\x02"
NOTE, OF_BOB = ALICE.event("a note"), BOB.event("another")
BAN = {f"banned-pubkeys/{BOB.pubkey}": b'{"reason":"spam","since":7}'}
KEPT = {**BAN, "identity/name": b'{"reason":"a club"}', "self": SECRET}
MEMBERS = {"TRIO_RELAY_MEMBERS__ENABLED": "true", "TRIO_RELAY_RELAY__URL": "wss://relay.example/"}


def run(store: Path, *arguments: str, stdin: bytes = b"", settings: Mapping[str, str] | None = None) -> Result:
    environment = {"TRIO_RELAY_STORE__PATH": str(store), **(settings or {})}
    return CliRunner().invoke(main, arguments, input=stdin, env=environment)


def keep(store: Path, values: Mapping[str, bytes | None]) -> None:
    """Have a store keep these."""

    async def put() -> None:
        async with open_sqlite(SqliteOptions(path=str(store))) as opened:
            await opened.put_metadata(values)

    trio.run(put)


def kept(store: Path) -> dict[str, bytes]:
    """What a store keeps, but for what is still to be removed."""

    async def get() -> dict[str, bytes]:
        async with open_sqlite(SqliteOptions(path=str(store))) as opened:
            return await opened.get_metadata()

    return {name: value for name, value in trio.run(get).items() if not name.startswith("removals/")}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two events and some decisions."""
    path = tmp_path / "relay.db"
    assert run(path, "import", stdin=event.encode(NOTE) + b"\n" + event.encode(OF_BOB)).exit_code == 0
    keep(path, KEPT)
    return path


def test_a_state_alone_brings_no_events_and_takes_none(store: Path, tmp_path: Path) -> None:
    state, other = str(tmp_path / "state.json"), tmp_path / "other.db"
    told = f"{state}: 1 in banned-pubkeys, 1 in identity; without the relay's key\n"
    ended = run(store, "export", "--state", state)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", told)
    ended = run(other, "import", "--state", state, stdin=event.encode(NOTE))
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, told, "")
    assert kept(other) == {name: value for name, value in KEPT.items() if name != "self"}
    assert run(other, "export").stdout == ""


def test_the_key_goes_where_it_is_asked_for_on_both_ways(store: Path, tmp_path: Path) -> None:
    state, without = str(tmp_path / "state.json"), str(tmp_path / "without.json")
    assert run(store, "export", "--state", state, "--with-key").stderr.endswith("; with the relay's key\n")
    assert run(store, "export", "--state", without).exit_code == 0
    assert SECRET.hex() not in Path(without).read_text()
    assert run(tmp_path / "one.db", "import", "--state", state).exit_code == 0
    assert "self" not in kept(tmp_path / "one.db")
    assert run(tmp_path / "two.db", "import", "--state", state, "--with-key").exit_code == 0
    assert kept(tmp_path / "two.db") == KEPT
    ended = run(tmp_path / "three.db", "import", "--state", without, "--with-key")
    assert (ended.exit_code, ended.stderr) == (2, f"trio-relay: {without}: it was written without --with-key\n")
    assert not (tmp_path / "three.db").exists()


def test_a_relay_that_has_no_key_goes_with_the_same_options(tmp_path: Path) -> None:
    store, other, state = tmp_path / "relay.db", tmp_path / "other.db", str(tmp_path / "state.json")
    keep(store, BAN)
    told = f"{state}: 1 in banned-pubkeys; the relay has no key\n"
    assert run(store, "export", "--state", state, "--with-key").stderr == told
    keep(other, {"self": ANOTHER})
    ended = run(other, "import", "--state", state, "--with-key")
    assert (ended.exit_code, ended.stdout) == (0, told)
    assert kept(other) == {**BAN, "self": ANOTHER}


def test_events_and_state_go_together_and_the_state_comes_first(store: Path, tmp_path: Path) -> None:
    """Else what was banned after the events were written would come back with them."""
    state, events, other = str(tmp_path / "state.json"), str(tmp_path / "events.gz"), tmp_path / "other.db"
    ended = run(store, "export", "--state", state, events)
    assert (ended.exit_code, ended.stderr.splitlines()[0]) == (0, "2 events")
    ended = run(other, "import", "--backup", "--state", state, events)
    assert ended.exit_code == 0
    assert ended.stdout.splitlines()[1:] == [
        "2 events: 1 stored, 0 known, 0 superseded, 0 ephemeral, 1 gone, 0 refused",
        "  1 gone: the author of this event is banned here",
    ]
    assert run(other, "export").stdout_bytes == event.encode(NOTE) + b"\n"


def test_what_a_restored_state_bans_goes_with_the_next_start(store: Path, tmp_path: Path) -> None:
    """Events first, the state after them: in the end it is the same."""
    state, other = str(tmp_path / "state.json"), tmp_path / "other.db"
    run(store, "export", "--state", state)
    assert run(other, "import", "--backup", stdin=event.encode(NOTE) + b"\n" + event.encode(OF_BOB)).exit_code == 0
    assert run(other, "import", "--state", state).exit_code == 0

    async def start() -> None:
        with trio.fail_after(30):
            async with open_sqlite(SqliteOptions(path=str(other))) as opened, open_relay(opened) as relay:
                done = trio.Event()
                lists = relay.rules.lists
                relay.moderation.state.subscribe(lambda _: None if lists.holds_any(ListName.REMOVALS) else done.set())
                await done.wait()

    trio.run(start)
    assert run(other, "export").stdout_bytes == event.encode(NOTE) + b"\n"


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"identity/name": b'{"reason":"mine"}'}, "1 in identity"),
        ({f"members/{ALICE.pubkey}": b"{}", "self": ANOTHER}, "1 in members, its own key"),
        ({"self": ANOTHER}, "its own key"),
    ],
)
def test_nothing_of_the_stores_own_is_lost_unless_that_is_asked_for(
    store: Path, tmp_path: Path, there: dict[str, bytes], words: str
) -> None:
    state, other = str(tmp_path / "state.json"), tmp_path / "other.db"
    run(store, "export", "--state", state, "--with-key")
    keep(other, there)
    ended = run(other, "import", "--backup", "--state", state, "--with-key", "-", stdin=event.encode(NOTE))
    refused = f"trio-relay: the store has a state of its own that would be lost: {words} (--replace)\n"
    assert (ended.exit_code, ended.stdout, ended.stderr) == (2, "", refused)
    assert kept(other) == there
    assert run(other, "export").stdout == ""
    for arguments in (["--replace"], []):  # done once, it can be done again
        ended = run(other, "import", "--state", state, "--with-key", *arguments)
        assert (ended.exit_code, kept(other)) == (0, KEPT)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it cannot be read: Input data was truncated"),
        ("{}", 'this is no state of a relay, which has "format": "trio-relay state"'),
        ('{"format":"trio-relay state","version":2,"moons":{}}', "this is version 2; this program reads version 1"),
    ],
)
def test_a_file_that_is_refused_changes_nothing(store: Path, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "state.json").write_text(text)
    ended = run(
        store, "import", "--replace", "--state", str(tmp_path / "state.json"), "-", stdin=event.encode(ALICE.event("x"))
    )
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == f"trio-relay: {tmp_path / 'state.json'}: {why}\n"
    assert kept(store) == KEPT
    assert len(run(store, "export").stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["import", "--with-key"], "--with-key needs --state"),
        (["import", "--replace", "-"], "--replace needs --state"),
        (["export", "--with-key"], "--with-key needs --state"),
        (["import", "--backup", "--state", __file__], "--backup beside --state needs FILE, or - for standard input"),
        (["import", "--state", "/nowhere"], "Invalid value for '--state': File '/nowhere' does not exist."),
    ],
)
def test_options_that_would_do_nothing_are_refused(tmp_path: Path, arguments: list[str], why: str) -> None:
    ended = run(tmp_path / "relay.db", *arguments, stdin=event.encode(NOTE))
    assert (ended.exit_code, ended.stderr.splitlines()[-1]) == (2, f"Error: {why}")
    assert not (tmp_path / "relay.db").exists()


def test_a_state_that_cannot_be_written_says_why(store: Path, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "state.json"
    ended = run(store, "export", "--state", str(path))
    assert (ended.exit_code, ended.stderr) == (1, f"trio-relay: cannot write {path}: No such file or directory\n")


def test_a_store_that_keeps_what_this_version_does_not_know_has_no_state_written(store: Path, tmp_path: Path) -> None:
    keep(store, {"moons/full": b"{}"})
    ended = run(store, "export", "--state", str(tmp_path / "state.json"))
    why = "the store keeps moons, which this version does not know"
    assert (ended.exit_code, ended.stderr) == (2, f"trio-relay: {why}\n")
    assert not (tmp_path / "state.json").exists()


def test_an_import_of_a_backup_says_nothing_of_its_own(store: Path, tmp_path: Path) -> None:
    """A relay of members would else sign a new list of them before it has the one that it had signed."""
    said = signer.Signer(SECRET).sign(13_534, 1_700_000_000, [["-"], ["member", ALICE.pubkey]])
    keep(store, {f"members/{ALICE.pubkey}": b"{}"})
    state = str(tmp_path / "state.json")
    run(store, "export", "--state", state, "--with-key")
    arguments = ["import", "--backup", "--state", state, "--with-key", "-"]
    restore = partial(run, tmp_path / "other.db", *arguments, settings=MEMBERS)
    assert restore(stdin=event.encode(said) + b"\n" + event.encode(NOTE)).exit_code == 0
    exported = run(tmp_path / "other.db", "export").stdout
    assert [json.loads(line)["id"] for line in exported.splitlines()] == [said.id, NOTE.id]
