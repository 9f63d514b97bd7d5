"""A client by others on the real program: it publishes, finds, hears, replaces and deletes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nostr_sdk import (  # type: ignore[import-untyped]  # ships no types
    Filter,
    Keys,
    Kind,
    SingleLetterTag,
    Timestamp,
)

from tests.support.keys import NOW
from tests.support.program import Program, running
from tests.support.rust_nostr import Loop, NostrClient, nostr_client, nostr_loop, signed

pytestmark = pytest.mark.slow

ALICE, BOB = Keys.parse("a" * 64), Keys.parse("b" * 64)


@asynccontextmanager
async def _client(folder: Path, settings: dict[str, str]) -> AsyncIterator[tuple[NostrClient, Loop, Program]]:
    async with running(folder, settings) as program, nostr_loop() as loop, nostr_client(loop, program) as client:
        yield client, loop, program


async def test_what_it_publishes_it_finds_by_id_author_kind_tag_and_time(
    tmp_path: Path, serving_settings: dict[str, str]
) -> None:
    hello = signed(ALICE, "hello", created_at=NOW)
    reply = signed(BOB, "reply", created_at=NOW + 1, tags=(("e", hello.id().to_hex()), ("T", "x")))
    article = signed(ALICE, "article", kind=30_023, created_at=NOW + 2, tags=(("d", "one"), ("t", "x")))
    later = signed(BOB, "later", kind=7, created_at=NOW + 3)
    filters = {
        "id": (Filter().ids([hello.id(), later.id()]), ["later", "hello"]),
        "author": (Filter().author(ALICE.public_key()), ["article", "hello"]),
        "kind": (Filter().kinds([Kind(7), Kind(30_023)]), ["later", "article"]),
        "author and kind": (Filter().author(BOB.public_key()).kind(Kind(1)), ["reply"]),
        "event tag": (Filter().event(hello.id()), ["reply"]),
        "hashtag": (Filter().hashtag("x"), ["article"]),
        "capital tag": (Filter().custom_tag(SingleLetterTag.from_byte(ord("T")), "x"), ["reply"]),
        "identifier": (Filter().identifier("one"), ["article"]),
        "time": (
            Filter().since(Timestamp.from_secs(NOW + 1)).until(Timestamp.from_secs(NOW + 2)),
            ["article", "reply"],
        ),
        "limit": (Filter().limit(3), ["later", "article", "reply"]),
        "nothing": (Filter().kind(Kind(4)), []),
    }
    async with _client(tmp_path, serving_settings) as (client, _, _):
        for event in (reply, later, hello, article):
            assert await client.publish(event) is None
        found = {name: await client.find(wanted) for name, (wanted, _) in filters.items()}
    assert found == {name: expected for name, (_, expected) in filters.items()}


async def test_it_hears_of_events_that_others_publish_later(tmp_path: Path, serving_settings: dict[str, str]) -> None:
    async with _client(tmp_path, serving_settings) as (client, loop, program), nostr_client(loop, program) as other:
        await client.subscribe(Filter().author(ALICE.public_key()).kind(Kind(1)))
        assert await other.publish(signed(BOB, "not asked for", created_at=NOW)) is None
        assert await other.publish(signed(ALICE, "of another kind", kind=7, created_at=NOW)) is None
        assert await other.publish(signed(ALICE, "news", created_at=NOW)) is None
        assert await other.publish(signed(ALICE, "older, but later", created_at=NOW - 1)) is None
        assert [await client.live_event(), await client.live_event()] == ["news", "older, but later"]


async def test_an_ephemeral_event_is_heard_and_not_found(tmp_path: Path, serving_settings: dict[str, str]) -> None:
    async with _client(tmp_path, serving_settings) as (client, loop, program), nostr_client(loop, program) as other:
        await client.subscribe(Filter().kind(Kind(20_001)))
        assert await other.publish(signed(ALICE, "typing", kind=20_001, created_at=NOW)) is None
        assert await client.live_event() == "typing"
        assert await client.find(Filter().kind(Kind(20_001))) == []


async def test_what_its_author_deletes_is_gone_and_stays_gone(tmp_path: Path, serving_settings: dict[str, str]) -> None:
    mine = signed(ALICE, "mine", created_at=NOW)
    addressed = signed(ALICE, "addressed", kind=30_023, created_at=NOW, tags=(("d", "a:b"),))
    address = f"30023:{ALICE.public_key().to_hex()}:a:b"
    targets = (("e", mine.id().to_hex()), ("a", address))
    async with _client(tmp_path, serving_settings) as (client, _, _):
        assert await client.publish(mine) is None
        assert await client.publish(addressed) is None
        assert await client.publish(signed(BOB, "not yours", kind=5, created_at=NOW + 1, tags=targets)) is None
        assert sorted(await client.find(Filter().author(ALICE.public_key()))) == ["addressed", "mine"]
        assert await client.publish(signed(ALICE, "sorry", kind=5, created_at=NOW + 1, tags=targets)) is None
        assert await client.find(Filter().author(ALICE.public_key())) == ["sorry"]
        assert await client.publish(mine) == "blocked: deleted by its author, or older than a version that has expired"
        assert (
            await client.publish(addressed)
            == "blocked: deleted by its author, or older than a version that has expired"
        )


async def test_a_newer_version_replaces_and_an_older_one_is_refused(
    tmp_path: Path, serving_settings: dict[str, str]
) -> None:
    kinds: dict[int, tuple[tuple[str, ...], ...]] = {0: (), 10_002: (), 30_023: (("d", "same"),)}
    found = {}
    async with _client(tmp_path, serving_settings) as (client, _, _):
        for kind, tags in kinds.items():
            old, new, oldest = (
                signed(ALICE, content, kind=kind, created_at=NOW + second, tags=tags)
                for content, second in [("old", 1), ("new", 2), ("oldest", 0)]
            )
            assert await client.publish(old) is None
            assert await client.publish(new) is None
            assert await client.publish(oldest) == "duplicate: have a newer version"
            found[kind] = await client.find(Filter().kind(Kind(kind)))
    assert found == {kind: ["new"] for kind in kinds}
