"""Export and import by the very commands of docs/backups.md: all that a relay was comes back, and nothing more."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGTERM
from typing import Any, Final

import pytest

from tests.e2e.test_managing import manage
from tests.support.event_lines import jsonl
from tests.support.keys import ALICE, BOB, CAROL, NOW, Author
from tests.support.named_relay import AuthClient
from tests.support.operators import ADMIN, MODERATOR
from tests.support.page_blocks import shell_blocks, typed
from tests.support.program import Program, finished, running
from tests.support.program_load import everything
from trio_relay.nostr.event import Event

pytestmark = [pytest.mark.slow]

MALLORY, DAVE = Author("mallory"), Author("dave")
PUBLIC: Final = {
    "policy.admins": json.dumps([ADMIN.pubkey]),
    "policy.challenge": "connect",
    "members.enabled": "true",
    "members.members_write": "false",
    "members.claims": '["open-sesame"]',
}
STRICT: Final = """
[limits]
created_at_behind = 3600
max_content_length = 3
max_event_tags = 1
max_tag_value_length = 8

[policy]
allowed_kinds = [20]
denied_pubkeys = ["{alice}"]
denied_words = ["note"]
min_pow_difficulty = 20
auth_to_write = true

[[policy.rules]]
kinds = [1, 30023]
max_age = 3600
required_tags = ["subject"]

[members]
members_write = true
"""
"""A configuration by which none of the relay's own history might come in now."""

NOTE, OF_BOB = ALICE.event("a note that is not short"), BOB.event("another note", created_at=NOW + 1)
PROFILES = [ALICE.event(f"profile {n}", kind=0, created_at=NOW + n) for n in range(2)]
ARTICLE = ALICE.event("an article", kind=30_023, tags=[["d", "x"], ["t", "some tag that is long"]])
PROTECTED = BOB.event("a protected note", tags=[["-"]])
WRAP = DAVE.event("for Alice", kind=1_059, tags=[["p", ALICE.pubkey]])
WRAP_FOR_BANNED = DAVE.event("for Mallory", kind=1_059, tags=[["p", MALLORY.pubkey]])
LASTING = BOB.event("lasts", tags=[["expiration", "8000000000"]])
DELETED = BOB.event("a note that is deleted")
DELETION = BOB.event("", kind=5, created_at=NOW + 5, tags=[["e", DELETED.id]])
OF_CAROL = CAROL.event("a note of one who vanishes")
VANISHING = CAROL.event("", kind=62, created_at=NOW + 5, tags=[["relay", "ALL_RELAYS"]])
SPAM, WORSE = MALLORY.event("a note of spam"), BOB.event("a note that is banned")
REPORT = ALICE.event("rude", kind=1_984, tags=[["e", OF_BOB.id, "spam"], ["p", BOB.pubkey]])
PUBLISHED = [
    NOTE, OF_BOB, *PROFILES, ARTICLE, WRAP, WRAP_FOR_BANNED, LASTING, DELETED, DELETION, OF_CAROL, VANISHING, SPAM,
    WORSE, REPORT,
]  # fmt: skip
CALLS: Final[list[list[Any]]] = [
    ["banpubkey", MALLORY.pubkey, "spam"],
    ["banpubkey", "1" * 64, "for a while", 7_000_000_000],
    ["banevent", WORSE.id, "worse"],
    ["allowevent", NOTE.id],
    ["disallowkind", 4, "old"],
    ["blockip", "203.0.113.0/24", "noise"],
    ["changerelayname", "a club"],
    ["changerelaydescription", "for members"],
    ["changerelayicon", "https://relay.example/icon.png"],
    ["createrole", "cook", "Cook", "makes the soup", 120, 1],
    ["assignrole", ALICE.pubkey, "cook"],
    ["assignmethod", MODERATOR.pubkey, "banevent"],
]
LISTS: Final = (
    "listbannedpubkeys", "listallowedpubkeys", "listbannedevents", "listallowedevents", "listeventsneedingmoderation",
    "listallowedkinds", "listdisallowedkinds", "listblockedips", "listroles", "listmethodassignees",
)  # fmt: skip


@asynccontextmanager
async def member(program: Program, key: Author) -> AsyncIterator[AuthClient]:
    """A client that has authenticated a key."""
    host, port = program.address
    async with program.client() as talker:
        client = AuthClient(talker, lambda: int(time.time()))
        verb, client.challenge = await talker.receive()
        assert verb == "AUTH"
        assert await client.authenticate(key, url=f"ws://{host}:{port}/") == [True, ""]
        yield client


async def live_a_little(program: Program) -> None:
    """Have the relay get events, members, and decisions of its operators."""
    async with member(program, BOB) as client:
        for event in [*PUBLISHED, PROTECTED]:
            assert (await client.publish(event))[0] is True, event
        await client.send("REQ", "invite", {"kinds": [28_935]})
        assert (await client.receive())[0] == "EOSE"  # no member yet, no code
        for key in (BOB, ALICE):
            if key is ALICE:
                host, port = program.address
                assert await client.authenticate(key, url=f"ws://{host}:{port}/") == [True, ""]
            joining = key.event(kind=28_934, created_at=int(time.time()), tags=[["-"], ["claim", "open-sesame"]])
            assert (await client.publish(joining))[0] is True
        await client.send("REQ", "invites", {"kinds": [28_935]})
        assert (await client.receive())[:2] == ["EVENT", "invites"]
    for call in CALLS:
        assert "result" in (await manage(program, *call)).json(), call


async def all_of(program: Program) -> dict[str, Any]:
    """What everybody can see of a relay, and what its operators can: events, its document, every list."""
    async with member(program, ALICE) as client:
        events = {event["id"]: event for event in await everything(client.talker)}
    async with member(program, MALLORY) as client:
        private = await client.ask({"kinds": [1_059]})
    document = (await program.get("/", accept="application/nostr+json")).json()
    lists = {method: (await manage(program, method)).json()["result"] for method in LISTS}
    # What was added in the same second has another order after every start.
    ordered = {method: sorted(items, key=json.dumps) for method, items in lists.items()}
    return {"events": events, "private": private, "document": document, "lists": ordered}


async def test_export_wipe_and_restore_by_the_steps_of_the_page(tmp_path: Path, store_settings: dict[str, str]) -> None:
    writing, restoring, comparing = shell_blocks("docs/backups.md", "Export and import")
    config = tmp_path / "relay.toml"
    config.write_text("")
    async with running(tmp_path, store_settings | PUBLIC) as program:
        await live_a_little(program)
        members = await said_soon(program)
        before = await all_of(program)
        kept = [NOTE, OF_BOB, PROFILES[1], ARTICLE, PROTECTED, WRAP, LASTING, DELETION, VANISHING, REPORT]
        assert {event.id for event in kept} < before["events"].keys()
        gone = [PROFILES[0], DELETED, OF_CAROL, SPAM, WORSE]
        assert before["events"].keys().isdisjoint(event.id for event in gone)
        assert before["private"] == [WRAP_FOR_BANNED.id]
        assert [found["id"] for found in before["lists"]["listeventsneedingmoderation"]] == [OF_BOB.id]
        ended = await typed(tmp_path, writing, store_settings)
        assert ended.returncode == 0, ended.stderr
        program.signal(SIGTERM)
        assert await program.wait() == 0
    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600

    settings = await elsewhere(tmp_path, store_settings)
    config.write_text(STRICT.format(alice=ALICE.pubkey))
    for line in restoring.splitlines():
        if settings.get("store.backend") == "opensearch" and line.startswith("mv "):
            continue  # the index is another one
        ended = await typed(tmp_path, line, settings)
        assert ended.returncode == 0, (line, ended.stdout, ended.stderr)
    assert re.search(
        rb"\n(\d+) events: \1 stored, 0 known, 0 superseded, 0 ephemeral, 0 gone, 0 refused\n", ended.stdout
    )
    ended = await typed(tmp_path, comparing, settings)
    assert (ended.returncode, ended.stdout) == (0, b""), ended.stderr

    config.write_text("")
    async with running(tmp_path, settings | PUBLIC) as program:
        after = await all_of(program)
        assert after == before
        assert await said_soon(program) == members
        async with member(program, BOB) as client:
            assert await client.publish(DELETED) == [
                False,
                "blocked: deleted by its author, or older than a version that has expired",
            ]
            assert await client.publish(OF_CAROL) == [False, "blocked: its author has asked to vanish"]
            assert await client.publish(SPAM) == [False, "blocked: the author of this event is banned here"]
            assert await client.publish(WORSE) == [False, "blocked: this event is banned here"]
            assert await client.publish(PROFILES[0]) == [False, "duplicate: have a newer version"]
            await client.send("REQ", "invites", {"kinds": [28_935]})
            assert (await client.receive())[:2] == ["EVENT", "invites"]  # still a member


async def said_soon(program: Program) -> dict[str, Any]:
    """The list of members that the relay publishes, once it is up to date."""
    async with member(program, ADMIN) as client:
        await client.send("REQ", "members", {"kinds": [13_534]})
        while True:
            verb, *_, event = await client.receive()
            if verb == "EVENT" and event["tags"] == [["-"], ["member", BOB.pubkey], ["member", ALICE.pubkey, "cook"]]:
                found: dict[str, Any] = event
                return found


async def elsewhere(folder: Path, settings: dict[str, str]) -> dict[str, str]:
    """The same settings with another, empty place for the store."""
    if settings.get("store.backend") != "opensearch":
        return settings
    other = settings | {"opensearch.prefix": f"{settings['opensearch.prefix']}-restored"}
    migrated = await finished(folder, "migrate", settings=other)
    assert migrated.returncode == 0, migrated.stderr
    return other


async def test_a_relay_moves_from_sqlite_to_opensearch_by_the_steps_of_that_page(
    tmp_path: Path, opensearch: dict[str, str]
) -> None:
    *_, moving = shell_blocks("docs/opensearch.md", "First steps")
    away, into = moving.splitlines()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "relay.toml").write_text("")
    (tmp_path / "config" / "opensearch.toml").write_text(STRICT.format(alice=ALICE.pubkey))
    everything_there = lines(NOTE, ARTICLE, PROTECTED, WRAP, DELETION, VANISHING)
    assert (await finished(tmp_path, "import", "--backup", stdin=everything_there)).returncode == 0
    for line, settings in ((away, {}), (into, opensearch)):
        ended = await typed(tmp_path, line, settings)
        assert ended.returncode == 0, (line, ended.stdout, ended.stderr)
    exported = await finished(tmp_path, "export", settings=opensearch)
    assert sorted(exported.stdout.splitlines()) == sorted(everything_there.splitlines())


async def test_without_backup_the_rules_of_the_day_are_asked(tmp_path: Path) -> None:
    (tmp_path / "relay.toml").write_text(STRICT.format(alice=ALICE.pubkey))
    ended = await finished(tmp_path, "import", "--config", "relay.toml", stdin=lines(NOTE, OF_BOB))
    assert ended.returncode == 1
    assert ended.stdout.startswith(b"2 events: 0 stored, ")


def lines(*events: Event) -> bytes:
    return jsonl(events)
