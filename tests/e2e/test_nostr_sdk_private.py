"""A client by others on the real program, for what is for some alone or for some time: AUTH, wraps, COUNT, expiry."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest
import trio
from nostr_sdk import Filter, Keys, Kind  # type: ignore[import-untyped]  # ships no types

from tests.support.keys import NOW
from tests.support.program import PATIENCE, running
from tests.support.rust_nostr import nostr_client, nostr_loop, signed

pytestmark = pytest.mark.slow

ALICE, BOB, NOBODY = Keys.parse("a" * 64), Keys.parse("b" * 64), Keys.parse("c" * 64)
WRAP: Final = Kind(1_059)


def tag_of(keys: Keys) -> tuple[str, ...]:
    return ("p", keys.public_key().to_hex())


async def test_private_events_are_found_by_those_concerned_once_they_have_authenticated(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    """NIP-42, 04 and 59."""
    wraps = [signed(NOBODY, f"for {at}", kind=1_059, created_at=NOW + at, tags=(tag_of(BOB),)) for at in range(3)]
    message = signed(ALICE, "psst", kind=4, created_at=NOW, tags=(tag_of(BOB),))
    found = {}
    async with running(tmp_path, store_settings) as program, nostr_loop() as loop:
        async with nostr_client(loop, program) as stranger:
            for event in (*wraps, message):
                assert await stranger.publish(event) is None
            found["nobody"] = await stranger.find(Filter().pubkey(BOB.public_key()))
        for name, keys in (("Alice", ALICE), ("Bob", BOB), ("the key of the wraps", NOBODY)):
            async with nostr_client(loop, program, keys=keys) as client:
                found[f"{name}, wraps"] = await client.find(Filter().kind(WRAP).pubkey(BOB.public_key()))
                found[f"{name}, messages"] = await client.find(Filter().kind(Kind(4)))
    assert found == {
        "nobody": [],
        "Alice, wraps": [],
        "Alice, messages": ["psst"],
        "Bob, wraps": ["for 2", "for 1", "for 0"],
        "Bob, messages": ["psst"],
        "the key of the wraps, wraps": [],
        "the key of the wraps, messages": [],
    }


async def test_counts_are_of_what_the_client_may_read(tmp_path: Path, store_settings: dict[str, str]) -> None:
    """NIP-45, by filters that have a HyperLogLog too and by others."""
    target = signed(ALICE, "target", created_at=NOW)
    likes = [
        signed(keys, "+", kind=7, created_at=NOW + 1, tags=(("e", target.id().to_hex()),)) for keys in (ALICE, BOB)
    ]
    wraps = [signed(NOBODY, str(at), kind=1_059, created_at=NOW, tags=(tag_of(BOB),)) for at in range(3)]
    async with running(tmp_path, store_settings) as program, nostr_loop() as loop:
        async with nostr_client(loop, program) as client:
            for event in (target, *likes, *wraps):
                assert await client.publish(event) is None
            assert await client.count(Filter().kind(Kind(7)).event(target.id())) == 2
            assert await client.count(Filter()) == 3
            assert await client.count(Filter().author(BOB.public_key()).limit(1)) == 1
            assert await client.count(Filter().kind(Kind(30_023))) == 0
        async with nostr_client(loop, program, keys=BOB) as client:
            assert len(await client.find(Filter().kind(WRAP))) == 3
            assert await client.count(Filter()) == 6
            assert await client.count(Filter().kind(WRAP)) == 3


async def test_a_protected_event_is_taken_of_its_author_alone(tmp_path: Path, store_settings: dict[str, str]) -> None:
    """NIP-70."""
    event = signed(ALICE, "stays here", created_at=NOW, tags=(("-",),))
    of_author = "a protected event is accepted from its authenticated author only (NIP-70)"
    async with running(tmp_path, store_settings) as program, nostr_loop() as loop:
        async with nostr_client(loop, program) as client:
            refusal = await client.publish(event)
            assert refusal is not None
            assert refusal.startswith("auth")
        async with nostr_client(loop, program, keys=BOB) as client:
            assert await client.publish(event) == f"restricted: {of_author}"
            assert await client.find(Filter()) == []
        async with nostr_client(loop, program, keys=ALICE) as client:
            assert await client.publish(event) is None
            assert await client.find(Filter().id(event.id())) == ["stays here"]


async def test_a_wrap_is_deleted_by_whom_it_is_for(tmp_path: Path, store_settings: dict[str, str]) -> None:
    """NIP-59: nobody has the key that signed it."""
    wraps = [signed(NOBODY, str(at), kind=1_059, created_at=NOW + at, tags=(tag_of(BOB),)) for at in range(2)]
    tags = (("e", wraps[0].id().to_hex()), ("k", "1059"))
    async with running(tmp_path, store_settings) as program, nostr_loop() as loop:
        async with nostr_client(loop, program, keys=BOB) as client:
            for event in wraps:
                assert await client.publish(event) is None
            assert await client.publish(signed(ALICE, "", kind=5, created_at=NOW + 9, tags=tags)) is None
            assert await client.find(Filter().kind(WRAP)) == ["1", "0"]
            assert await client.publish(signed(BOB, "", kind=5, created_at=NOW + 9, tags=tags)) is None
            assert await client.find(Filter().kind(WRAP)) == ["1"]
        async with nostr_client(loop, program) as client:
            refusal = await client.publish(wraps[0])
            assert refusal is not None
            assert refusal.startswith("blocked: deleted")


async def test_an_event_is_found_until_it_expires_and_refused_then(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    """NIP-40."""
    async with (
        running(tmp_path, store_settings) as program,
        nostr_loop() as loop,
        nostr_client(loop, program) as client,
    ):
        now = int(time.time())
        short = signed(ALICE, "short", created_at=now, tags=(("expiration", str(now + 4)),))
        long = signed(ALICE, "long", created_at=now - 1, tags=(("expiration", str(now + 3_600)),))
        over = signed(ALICE, "over", created_at=now - 9, tags=(("expiration", str(now - 1)),))
        assert await client.publish(over) == f"invalid: the event has expired at {now - 1} (NIP-40)"
        for event in (short, long):
            assert await client.publish(event) is None
        assert await client.find(Filter()) == ["short", "long"]
        assert await client.count(Filter()) == 2
        with trio.fail_after(PATIENCE):
            while await client.find(Filter()) != ["long"]:
                pass
        assert time.time() >= now + 4
        assert await client.count(Filter()) == 1
        assert await client.publish(short) == f"invalid: the event has expired at {now + 4} (NIP-40)"
