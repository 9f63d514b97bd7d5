"""NIP-19: the spellings of a public key, by its own examples, by another library, and damaged in every way."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nostr_sdk import (  # type: ignore[import-untyped]
    Coordinate,
    EventId,
    Kind,
    Nip19Coordinate,
    Nip19Event,
    Nip19Profile,
    PublicKey,
    RelayUrl,
)

from trio_relay.nostr.nip19 import Address, address_of, event_id_of, naddr_of, note_of, npub_of, pubkey_of, secret_of

HEX: Final = "3bf0c63fcb93463407af97a5e5ee64fa883d107ef9e558472c4eb9aaaefa459d"
NPROFILE: Final = (
    "nprofile1qqsrhuxx8l9ex335q7he0f09aej04zpazpl0ne2cgukyawd24mayt8gpp4mhxue69uhhytnc9e3k7mgpz4mhxue69uhkg6nzv9e"
    "juumpv34kytnrdaksjlyr9p"
)
"""From the NIP, "Examples"."""
NPUB: Final = "npub180cvv07tjdrrgpa0j7j7tmnyl2yr6yr7l8j4s3evf6u64th6gkwsyjh6w6"


@pytest.mark.parametrize(
    "text",
    [HEX, HEX.upper(), NPUB, NPUB.upper(), NPROFILE, NPROFILE.upper(), f"nostr:{NPUB}", f"  {NPUB}\n"],
    ids=["hex", "HEX", "npub", "NPUB", "nprofile", "NPROFILE", "uri", "space"],
)
def test_every_spelling_is_the_same_key(text: str) -> None:
    assert pubkey_of(text) == HEX


@given(
    st.binary(min_size=32, max_size=32), st.lists(st.sampled_from(["wss://a.example", "ws://b.example/x"]), max_size=3)
)
def test_what_another_library_writes_is_read(key: bytes, relays: list[str]) -> None:
    try:
        named = PublicKey.parse(key.hex())
    except Exception:  # a few numbers are no keys
        return
    assert pubkey_of(named.to_bech32()) == key.hex()
    profile = Nip19Profile(named, [RelayUrl.parse(relay) for relay in relays])
    assert pubkey_of(profile.to_bech32()) == key.hex()


WHAT: Final = "a key is 64 hex characters, or starts with npub1 or nprofile1"
DAMAGED: Final = "a character is missing or wrong"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", f"'' is no key: {WHAT}"),
        ("alice", f"'alice' is no key: {WHAT}"),
        (HEX[1:], f"'bf0c63fcb93463407af97a5e…' is no key: {WHAT}"),
        (NPUB[:-1], f"'{NPUB[:24]}…' is no key: {DAMAGED}"),
        (NPUB[:-1] + "q", f"'{NPUB[:24]}…' is no key: {DAMAGED}"),
        (NPUB[:-1] + "b", f"'{NPUB[:24]}…' is no key: {DAMAGED}"),
        ("npub1", f"'npub1' is no key: {DAMAGED}"),
        ("Npub1" + NPUB[5:], f"'Npub1{NPUB[5:24]}…' is no key: its letters are of both cases"),
        ("note1" + NPUB[5:], f"'note1{NPUB[5:24]}…' is no key: {WHAT}"),
        ("nprofile1" + "q" * 5_000, f"'nprofile1{'q' * 15}…' is no key: {DAMAGED}"),
    ],
    ids=["empty", "a name", "short hex", "short", "checksum", "letter", "bare", "cases", "a note", "long"],
)
def test_what_is_none_is_told_what_a_key_looks_like(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r"is no key") as refused:
        pubkey_of(text)
    assert str(refused.value) == reason


def test_a_secret_key_is_not_repeated() -> None:
    with pytest.raises(ValueError, match=r"give its npub") as refused:
        pubkey_of("nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5")
    assert "vl029" not in str(refused.value)


@given(st.integers(5, len(NPUB) - 1), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_one_wrong_letter_is_always_found(place: int, letter: str) -> None:
    damaged = NPUB[:place] + letter + NPUB[place + 1 :]
    if damaged == NPUB:
        assert pubkey_of(damaged) == HEX
    else:
        with pytest.raises(ValueError, match=DAMAGED):
            pubkey_of(damaged)


KEY: Final = PublicKey.parse(HEX)


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["", "nostr:"]))
def test_ids_of_events_are_read_and_written_as_by_another_library(data: bytes, scheme: str) -> None:
    other = EventId.parse(data.hex())
    assert note_of(data.hex()) == other.to_bech32()
    nevent = Nip19Event(other, KEY, Kind(1), [RelayUrl.parse("wss://a.example")]).to_bech32()
    for text in (data.hex(), data.hex().upper(), other.to_bech32(), nevent):
        assert event_id_of(scheme + text) == data.hex()
    assert npub_of(HEX) == NPUB


@given(st.text(max_size=60), st.integers(30_000, 39_999))
def test_addresses_are_read_and_written_as_by_another_library(name: str, kind: int) -> None:
    written = naddr_of(Address(kind, HEX, name))
    assert written is not None
    assert written == Nip19Coordinate(Coordinate(Kind(kind), KEY, name), []).to_bech32()
    assert address_of(written) == (kind, HEX, name)


def test_a_name_that_is_too_long_has_no_address_in_one_word() -> None:
    assert naddr_of(Address(30_000, HEX, "n" * 256)) is None
    assert naddr_of(Address(30_000, HEX, "n" * 255)) is not None


@pytest.mark.parametrize("text", ["", "note1", NPUB, HEX[1:], "nevent1qqq", "note1" + NPUB[5:], NPROFILE])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no id of an event"):
        event_id_of(text)


@pytest.mark.parametrize("text", ["", "naddr1", NPUB, HEX, NPROFILE, f"naddr1{'q' * 6_000}"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address of events"):
        address_of(text)


SECRET: Final = "67dea2ed018072d675f5415ecfaed7d2597555e202d85b3d65ea4e58d2d92ffa"
NSEC: Final = "nsec1vl029mgpspedva04g90vltkh6fvh240zqtv9k0t9af8935ke9laqsnlfe5"
"""From the NIP, "Bare keys and ids"."""


@pytest.mark.parametrize("text", [SECRET, SECRET.upper(), NSEC, NSEC.upper(), f" {NSEC}\n"])
def test_a_secret_key_is_read_in_both_spellings(text: str) -> None:
    assert secret_of(text).hex() == SECRET


@pytest.mark.parametrize("text", ["", NPUB, NSEC[:-1], NSEC[:-1] + "4", SECRET[:-2], "é" * 64])
def test_what_is_no_secret_key_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"^a secret key is 64 hex characters, or starts with nsec1$"):
        secret_of(text)
