"""NIP-70, protected events: nobody but their authenticated author may publish them here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest
import trio
from click.testing import CliRunner

from tests.support.keys import ALICE, BOB, CAROL, NOW
from tests.support.named_relay import open_client, open_named, rules_for
from tests.support.server import plain
from trio_relay import MemoryStore, Store, open_relay
from trio_relay.cli import main
from trio_relay.nostr.event import Event, encode
from trio_relay.sources import Line
from trio_relay.transfer import ImportSummary, import_lines

OF_ITS_AUTHOR = "a protected event is accepted from its authenticated author only (NIP-70)"
PROTECTED = ALICE.event("for this relay", tags=[["-"]])
REPOSTED = "blocked: what it reposts is protected (NIP-70)"


def repost(content: str, kind: int = 6) -> Event:
    return BOB.event(content, kind=kind, tags=[["e", PROTECTED.id], ["p", ALICE.pubkey]])


def embedded(event: Event) -> str:
    return json.dumps(plain(event))


async def test_a_protected_event_is_published_by_its_author(store: Store) -> None:
    async with open_named(store) as door, open_client(door, ALICE) as author, open_client(door) as reader:
        assert await author.publish(PROTECTED) == [True, ""]
        assert await reader.ask({"ids": [PROTECTED.id]}) == [PROTECTED.id]


async def test_without_authentication_it_is_refused(store: Store) -> None:
    """ "The default behavior of a relay MUST be to reject"."""
    async with open_named(store) as door, open_client(door) as client:
        assert await client.publish(PROTECTED) == [False, f"auth-required: {OF_ITS_AUTHOR}"]
        assert await client.ask({}) == []


async def test_the_refusal_follows_a_challenge_and_the_author_can_answer_it() -> None:
    """ "MUST first require that the client perform the NIP-42 AUTH flow"."""
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        await client.send("EVENT", PROTECTED)
        assert await client.receive() == ["AUTH", client.challenge]
        assert await client.receive() == ["OK", PROTECTED.id, False, f"auth-required: {OF_ITS_AUTHOR}"]
        assert await client.authenticate(ALICE) == [True, ""]
        assert await client.publish(PROTECTED) == [True, ""]


async def test_who_has_authenticated_as_another_is_refused(store: Store) -> None:
    """ "Then check if the authenticated client has the same pubkey"."""
    async with open_named(store) as door, open_client(door, BOB, CAROL) as client:
        await client.send("EVENT", PROTECTED)
        assert await client.receive() == ["OK", PROTECTED.id, False, f"restricted: {OF_ITS_AUTHOR}"]
        assert await client.ask({}) == []


async def test_any_of_several_keys_may_be_the_authors() -> None:
    of_bob = BOB.event(tags=[["-"]])
    async with open_named(MemoryStore()) as door, open_client(door, BOB, ALICE) as client:
        assert await client.publish(PROTECTED) == [True, ""]
        assert await client.publish(of_bob) == [True, ""]
        assert await client.publish(CAROL.event(tags=[["-"]])) == [False, f"restricted: {OF_ITS_AUTHOR}"]


async def test_who_has_a_copy_cannot_send_it_again() -> None:
    async with (
        open_named(MemoryStore()) as door,
        open_client(door, ALICE) as author,
        open_client(door, BOB) as other,
    ):
        assert await author.publish(PROTECTED) == [True, ""]
        assert await author.publish(PROTECTED) == [True, "duplicate: already have this event"]
        assert await other.publish(PROTECTED) == [False, f"restricted: {OF_ITS_AUTHOR}"]


@pytest.mark.parametrize("kind", [0, 1, 5, 7, 20_001, 30_023])
@pytest.mark.parametrize("tags", [[["-"]], [["t", "x"], [], ["-"]], [["-", "any"]]], ids=["alone", "later", "longer"])
async def test_the_tag_counts_on_every_kind_and_in_every_place(kind: int, tags: list[list[str]]) -> None:
    event = ALICE.event(kind=kind, tags=tags)
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.publish(event) == [False, f"auth-required: {OF_ITS_AUTHOR}"]
        assert await client.authenticate(ALICE) == [True, ""]
        assert await client.publish(event) == [True, ""]


@pytest.mark.parametrize("tags", [[["t", "-"]], [["--"]], [["\u2212"]], [[""]], [[" - "]]])
async def test_other_tags_protect_nothing(tags: list[list[str]]) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.publish(ALICE.event('["-"]', tags=tags)) == [True, ""]


async def test_a_relay_without_a_name_takes_none_of_them() -> None:
    """ "Or by just rejecting events with ["-"] outright": nobody can authenticate there."""
    async with open_named(MemoryStore(), rules_for(url="")) as door, door.client() as client:
        refused = "blocked: protected events are not accepted here: clients cannot authenticate (relay.url)"
        assert await client.publish(PROTECTED) == ["OK", PROTECTED.id, False, refused]
        assert await client.publish(ALICE.event()) == ["OK", ALICE.event().id, True, ""]


@pytest.mark.parametrize("kind", [6, 16])
@pytest.mark.parametrize(
    "content",
    [
        embedded(PROTECTED),
        json.dumps(plain(PROTECTED), indent=2),
        embedded(PROTECTED).replace('"-"', r'"\u002d"'),
        embedded(PROTECTED).replace('"-"', r'"\u002D"'),
        '{"tags":[["e","x"],["-"]]}',
        f'{{"unknown":{"[" * 50}{"]" * 50},"tags":[["-"]]}}',
    ],
    ids=["as it is", "with white space", "escaped", "escaped in capitals", "in part", "with more"],
)
async def test_a_repost_that_embeds_it_is_refused_even_of_its_author(kind: int, content: str) -> None:
    """Kinds 6 and 16; the event in it is there to be read, and its author has not published it again."""
    async with open_named(MemoryStore()) as door, open_client(door, ALICE, BOB) as client:
        assert await client.publish(repost(content, kind)) == [False, REPOSTED]
        assert await client.ask({}) == []


UNREADABLE: Final = "blocked: what it reposts cannot be read, and may be protected (NIP-70)"
UNREADABLE_REPOSTS: Final = {
    "an event and more": (f"{embedded(PROTECTED)} and more", REPOSTED),
    "more and an event": (f"\ufeff{embedded(PROTECTED)}", REPOSTED),
    "an event that was cut": (embedded(PROTECTED)[:-1], REPOSTED),
    "a number that is none": (embedded(PROTECTED).replace(f":{NOW}", ":1e"), REPOSTED),
    "a lone surrogate": (embedded(PROTECTED).replace('"content":"', r'"content":"\ud800'), REPOSTED),
    "a control character": (embedded(PROTECTED).replace('"content":"', '"content":"\x01'), REPOSTED),
    "its tags first": ('{"tags":[["-"]],"tags":[]}', REPOSTED),
    "its tags last": ('{"tags":[],"tags":[["-"]]}', REPOSTED),
    "a list of events": (f"[{embedded(PROTECTED)}]", REPOSTED),
    "no tag": ('{"tags":["-",1,[],["x","-"]]}', REPOSTED),
    "nested too deep": (f"{'[' * 5_000}{embedded(PROTECTED)}{']' * 5_000}", REPOSTED),
    "encoded twice": (json.dumps(embedded(PROTECTED)), UNREADABLE),
    "encoded three times": (json.dumps(json.dumps(embedded(PROTECTED))), UNREADABLE),
    "encoded twice, escaped": (json.dumps(embedded(PROTECTED)).replace('\\"', r"\u0022"), UNREADABLE),
    "other quotation marks": (embedded(PROTECTED).replace('"', "'"), UNREADABLE),
    "a comment": ('{"tags":[[/**/"-"]]}', UNREADABLE),
    "no list": ('{"tags":{"-":"-"}}', UNREADABLE),
    "no lists": ('{"tags":[1],"content":"","x":"-"}', UNREADABLE),
    "no JSON": ('so it says: "-"', UNREADABLE),
    "too deep": ('{"-":' * 20_000, UNREADABLE),
}


@pytest.mark.parametrize("kind", [6, 16])
@pytest.mark.parametrize(("content", "refused"), UNREADABLE_REPOSTS.values(), ids=UNREADABLE_REPOSTS)
async def test_a_repost_that_cannot_be_read_and_may_be_of_it_is_refused(kind: int, content: str, refused: str) -> None:
    """Some client may read what this relay cannot."""
    async with open_named(MemoryStore()) as door, open_client(door, ALICE, BOB) as client:
        assert await client.publish(repost(content, kind)) == [False, refused]
        assert await client.ask({}) == []


@pytest.mark.parametrize("kind", [6, 16])
@pytest.mark.parametrize(
    "content",
    [
        "",
        embedded(ALICE.event("free")),
        embedded(ALICE.event("a [\"-\"] in its text, and '-'", tags=[["t", "-"]])),
        json.dumps(plain(ALICE.event('a ["-"] in its text', tags=[["t", "-"]])), indent=2),
        "so true",
        "not - at all -",
        "it's -'s own",
        '{"tags":',
        "[]",
        '{"content":"-"}',
    ],
    ids=[
        "by its id",
        "another",
        "with a hyphen",
        "indented",
        "no JSON",
        "hyphens",
        "marks",
        "cut",
        "no event",
        "no tags",
    ],
)
async def test_other_reposts_are_taken(kind: int, content: str) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.publish(repost(content, kind)) == [True, ""]


async def test_who_quotes_it_is_no_reposter() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.publish(repost(embedded(PROTECTED), kind=1)) == [True, ""]


async def test_a_repost_that_is_protected_itself_is_its_authors_to_publish() -> None:
    own = BOB.event("", kind=6, tags=[["-"], ["e", PROTECTED.id]])
    async with open_named(MemoryStore()) as door, open_client(door, BOB) as client:
        assert await client.publish(own) == [True, ""]
        again = BOB.event(embedded(PROTECTED), kind=6, tags=[["-"]])
        assert await client.publish(again) == [False, REPOSTED]


@pytest.mark.parametrize("is_backup", [False, True])
async def test_an_import_takes_it_only_from_the_relays_own_export(is_backup: bool) -> None:
    """What others have mirrored came from its author no more than what any client sends."""
    store, summary = MemoryStore(), ImportSummary()
    reposted = repost(embedded(PROTECTED))
    lines = [Line(number, 0, event) for number, event in enumerate((PROTECTED, reposted, BOB.event("free")), 1)]
    with trio.fail_after(60):
        async with open_relay(store, rules=rules_for()) as relay:
            await import_lines(relay, lines, summary, is_backup=is_backup)
    alone = "it is protected: only its author may publish it, or this relay's own backup restore it (NIP-70)"
    refused = {} if is_backup else {("refused", "what it reposts is protected (NIP-70)"): 1, ("refused", alone): 1}
    assert (dict(summary.reasons), summary.counts["stored"]) == (refused, 3 if is_backup else 1)


@pytest.mark.usefixtures("own_logging")
def test_the_command_takes_it_with_backup_alone(tmp_path: Path) -> None:
    line = encode(PROTECTED) + b"\n"
    environment = {"TRIO_RELAY_STORE__PATH": str(tmp_path / "relay.db")}
    for arguments, outcome in ((["import"], "0 stored"), (["import", "--backup"], "1 stored")):
        ended = CliRunner().invoke(main, arguments, input=line, env=environment)
        assert ended.stdout.startswith(f"1 events: {outcome}"), ended.stdout
    assert CliRunner().invoke(main, ["export"], env=environment).stdout_bytes == line
