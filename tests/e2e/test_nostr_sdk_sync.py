"""A client by others syncs with the real program (NIP-77): both have all that either had, and nothing else moves."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from nostr_sdk import Event as SdkEvent  # type: ignore[import-untyped]  # ships no types
from nostr_sdk import Filter, Keys, Kind

from tests.support.keys import ALICE, BOB, NOW, Author
from tests.support.program import finished, running
from tests.support.rust_nostr import Database, nostr_client, nostr_loop, signed
from trio_relay.nostr.event import Event, encode

pytestmark = pytest.mark.slow

NOBODY: Final = Keys.parse("c" * 64)


def notes(author: Author, number: int) -> list[Event]:
    """Two to a second, so that both sides have events of the same time."""
    return [author.event(f"{author.pubkey[:4]} {at}", created_at=NOW + at // 2) for at in range(number)]


def foreign(event: Event) -> SdkEvent:
    """The same as the client has it."""
    return SdkEvent.from_json(encode(event).decode())


async def imported(folder: Path, settings: dict[str, str], events: list[Event]) -> None:
    ended = await finished(
        folder, "import", settings=settings, stdin=b"".join(encode(event) + b"\n" for event in events)
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize("each", [500, pytest.param(5_000, marks=pytest.mark.exhaustive)])
async def test_what_one_side_has_and_the_other_has_not_goes_each_way(
    tmp_path: Path, store_settings: dict[str, str], each: int
) -> None:
    there, here = notes(ALICE, each), notes(BOB, each)
    await imported(tmp_path, store_settings, there)
    async with running(tmp_path, store_settings) as program, nostr_loop() as loop:
        database = await Database.open(loop, tmp_path / "client")
        await database.put(list(map(foreign, here)))
        async with nostr_client(loop, program, database=database) as client:
            assert await client.sync(Filter()) == (each, each)
            assert await client.sync(Filter()) == (0, 0)
            assert await client.count(Filter()) == 2 * each
        assert await database.ids(Filter()) == {event.id for event in there + here}
    exported = await finished(tmp_path, "export", settings=store_settings)
    assert set(exported.stdout.splitlines()) == {encode(event) for event in there + here}


async def test_a_sync_of_an_authenticated_key_brings_what_is_private_to_it_and_nothing_of_others(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    """Neither does a sync of a kind bring other kinds."""
    bob, alice = Keys.parse("b" * 64), Keys.parse("a" * 64)
    wraps = {
        keys: signed(NOBODY, "", kind=1_059, created_at=NOW + at, tags=(("p", keys.public_key().to_hex()),))
        for at, keys in enumerate((bob, alice))
    }
    note, like = signed(NOBODY, "note", created_at=NOW), signed(NOBODY, "+", kind=7, created_at=NOW)
    here = signed(NOBODY, "only here", created_at=NOW + 1)
    async with running(tmp_path, store_settings) as program, nostr_loop() as loop:
        async with nostr_client(loop, program) as client:
            for event in (note, like, *wraps.values()):
                assert await client.publish(event) is None
        database = await Database.open(loop, tmp_path / "client")
        await database.put([here])
        async with nostr_client(loop, program, keys=bob, database=database) as client:
            assert await client.publish(signed(bob, "", kind=20_001, created_at=NOW, tags=(("-",),))) is None
            assert await client.sync(Filter().kinds([Kind(1), Kind(1_059)])) == (1, 2)
            assert await client.count(Filter()) == 4
        assert await database.ids(Filter()) == {one.id().to_hex() for one in (here, note, wraps[bob])}
