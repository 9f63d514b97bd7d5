"""`trio-relay trends`: read through from any store, or counted by the cluster, with the same result."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import trio
from click.testing import CliRunner, Result

from tests.support.event_lines import jsonl
from tests.support.indices import emptied
from tests.support.keys import ALICE, BOB, CAROL, NOW
from tests.support.readers import reading
from trio_relay import MemoryStore, StoreError, trends
from trio_relay.cli import main
from trio_relay.nostr.event import Event
from trio_relay.nostr.trends import Tally, Trends
from trio_relay.trends import describe, read_trends

pytestmark = pytest.mark.usefixtures("own_logging")

NOTE = ALICE.event("first [b]line[/b]\nand   second", created_at=NOW)
PROFILE = ALICE.event('{"name":"alice","display_name":""}', kind=0, created_at=NOW)
NAMELESS = BOB.event("no profile", kind=0, created_at=NOW)
SPOKEN = [
    author.event(str(second), created_at=NOW + second, tags=[["e", NOTE.id], ["p", ALICE.pubkey], ["t", tag]])
    for second, author, tag in [(0, BOB, "sea"), (1, CAROL, "sea"), (1, BOB, "sky"), (2, CAROL, "[red]"), (3, BOB, "é")]
]
PRIVATE = CAROL.event("…", kind=4, created_at=NOW + 1, tags=[["e", NOTE.id], ["p", BOB.pubkey], ["t", "sky"]])
EVENTS = [NOTE, PROFILE, NAMELESS, *SPOKEN, PRIVATE]


def _tallied(events: list[Event], since: int, until: int, limit: int) -> Trends:
    tally = Tally()
    for event in events:
        if since <= event.created_at <= until:
            tally.add(event)
    return tally.trends(since, until, limit)


async def _filled(events: list[Event]) -> MemoryStore:
    store = MemoryStore()
    await store.save_many(events)
    return store


@pytest.mark.parametrize("step", [2, 3, 5_000])
@pytest.mark.parametrize(("since", "until"), [(NOW, NOW + 3), (NOW + 1, NOW + 2), (NOW + 4, NOW + 9)])
async def test_a_window_is_read_whole_in_whatever_steps(
    monkeypatch: pytest.MonkeyPatch, step: int, since: int, until: int
) -> None:
    monkeypatch.setattr(trends, "FIRST_STEP", step)
    store = await _filled(EVENTS)
    assert await read_trends(store, since, until, 10) == _tallied(EVENTS, since, until, 10)


async def test_a_second_with_too_many_events_is_an_error_and_not_a_wrong_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trends, "FIRST_STEP", 2)
    monkeypatch.setattr(trends, "LAST_STEP", 3)
    store = await _filled([BOB.event(str(number), created_at=NOW) for number in range(4)])
    with pytest.raises(StoreError, match="more than 3 events are of one second"):
        await read_trends(store, NOW, NOW, 10)


HIDDEN_NOTE = BOB.event("hidden", kind=30_023, created_at=NOW, tags=[["d", "x"]])
HIDDEN = [
    HIDDEN_NOTE,
    *(
        author.event(str(kind), kind=kind, created_at=NOW + 2, tags=[["e", NOTE.id], ["p", BOB.pubkey], ["t", "sky"]])
        for author in (ALICE, BOB, CAROL)
        for kind in (4, 7, 1_984)
    ),
]
ANYBODY = reading(also=[7, 1_984, 30_023])


async def test_what_is_private_here_is_no_trend() -> None:
    store = await _filled([*EVENTS, *HIDDEN])
    assert await read_trends(store, NOW, NOW + 3, 10, ANYBODY) == _tallied(EVENTS, NOW, NOW + 3, 10)


@pytest.mark.usefixtures("index")
async def test_what_is_private_here_is_no_trend_in_the_cluster() -> None:
    async with emptied() as store:
        await store.save_many([*EVENTS, *HIDDEN])
        assert await store.trends(NOW, NOW + 3, 10, ANYBODY) == _tallied(EVENTS, NOW, NOW + 3, 10)


async def test_what_is_private_here_is_not_described() -> None:
    """A note that others may not read can be named by anybody."""
    spoken = CAROL.event("see", created_at=NOW + 1, tags=[["e", HIDDEN_NOTE.id], ["p", BOB.pubkey]])
    profile = BOB.event('{"name":"bob"}', kind=0)
    store = await _filled([HIDDEN_NOTE, profile, spoken])
    trends_found = await read_trends(store, NOW, NOW + 3, 10, ANYBODY)
    assert await describe(store, trends_found, ANYBODY) == {BOB.pubkey: "bob"}
    without_profiles = reading(also=[0])
    assert await describe(store, trends_found, without_profiles) == {HIDDEN_NOTE.id: "hidden"}


def test_the_program_leaves_out_what_is_private_by_its_configuration(tmp_path: Path) -> None:
    settings = {
        "TRIO_RELAY_STORE__PATH": str(tmp_path / "relay.db"),
        "TRIO_RELAY_POLICY__PRIVATE_KINDS": "[4, 7, 1984, 30023]",
        "TRIO_RELAY_RELAY__URL": "wss://relay.example/",
    }
    _run(settings, "import", stdin=jsonl(HIDDEN))
    result = _trends(settings, "--json")
    assert result.exit_code == 0, result.output
    assert msgspec.json.decode(result.output, type=Trends) == _tallied(EVENTS, NOW + 3 - 3_600, NOW + 3, 10)


@pytest.mark.usefixtures("index")
async def test_the_cluster_counts_as_the_relay_does() -> None:
    async with emptied() as store:
        await store.save_many(EVENTS)
        for since, until, limit in [
            (NOW, NOW + 3, 10),
            (NOW + 1, NOW + 2, 10),
            (NOW, NOW + 3, 1),
            (NOW + 4, NOW + 9, 5),
        ]:
            assert await store.trends(since, until, limit) == _tallied(EVENTS, since, until, limit)


def _run(settings: dict[str, str], *arguments: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(main, arguments, input=stdin, env={"COLUMNS": "120", **settings})


def _trends(settings: dict[str, str], *arguments: str) -> Result:
    _run(settings, "import", stdin=jsonl(EVENTS))
    return _run(settings, "trends", "--hours", "1", "--until", str(NOW + 3), *arguments)


def test_the_program_shows_tables_with_names(tmp_path: Path) -> None:
    result = _trends({"TRIO_RELAY_STORE__PATH": str(tmp_path / "relay.db")})
    assert result.exit_code == 0, result.output
    window, *lines = result.output.splitlines()
    assert window == "2023-11-14 21:13 to 2023-11-14 22:13 UTC, 6 events"
    assert [re.split(r" {2,}", line.strip()) for line in lines] == [
        [""],
        ["keys", "note"],
        ["2", NOTE.id, "first [b]line[/b] and second"],
        [""],
        ["keys", "tag"],
        ["2", "sea"],
        ["1", "[red]"],
        ["1", "sky"],
        ["1", "é"],
        [""],
        ["keys", "author"],
        ["2", ALICE.pubkey, "alice"],
    ]


@pytest.mark.slow
def test_the_program_prints_the_same_json_of_either_store(tmp_path: Path, node: str, prefix: str) -> None:
    index = {
        "TRIO_RELAY_STORE__BACKEND": "opensearch",
        "TRIO_RELAY_OPENSEARCH__URLS": f'["{node}"]',
        "TRIO_RELAY_OPENSEARCH__PREFIX": prefix,
    }
    assert _run(index, "migrate").exit_code == 0
    results = [_trends(settings, "--json") for settings in ({"TRIO_RELAY_STORE__PATH": str(tmp_path / "a.db")}, index)]
    assert [result.exit_code for result in results] == [0, 0]
    file, cluster = (msgspec.json.decode(result.output, type=Trends) for result in results)
    assert file == cluster == _tallied(EVENTS, NOW + 3 - 3_600, NOW + 3, 10)


def test_a_store_that_fails_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(*_: object) -> Trends:
        await trio.lowlevel.checkpoint()
        raise StoreError("the relay's store failed")

    monkeypatch.setattr("trio_relay.cli.store_commands.read_trends", failing)
    result = _trends({"TRIO_RELAY_STORE__PATH": str(tmp_path / "relay.db")})
    assert (result.exit_code, result.stderr) == (1, "trio-relay: the relay's store failed\n")


def test_what_others_wrote_is_shown_as_text_whatever_it_is() -> None:
    """Neither a name that is nested too deeply nor one that would move a terminal's cursor may do harm."""
    deep = "[" * 5_000 + "]" * 5_000
    assert trends._name('{"name":' + deep + "}") == ""
    assert trends._name('{"name":"\\u001b]52;c;x\\u0007\\u202eal\\n ice"}') == "]52;c;x al ice"
    assert trends._name("[]") == trends._name("no profile") == ""
