"""NIP-13, proof of work: what an id must show here, and what its author must have set out to show."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from tests.support.keys import ALICE, BOB, NOW, Author, made_up
from tests.support.named_relay import open_client, open_named, rules_for
from trio_relay import MemoryStore
from trio_relay.nostr.event import Event, compute_id
from trio_relay.nostr.pow import difficulty_of

DEMANDED = 6
TOO_LITTLE = "pow: the id has a difficulty of {}, 6 is needed (NIP-13)"
UNCOMMITTED = "pow: the nonce tag must commit to a difficulty of 6 at least (NIP-13)"


def leading_zero_bits(event_id: str) -> int:
    """Byte by byte, as "Validating" has it."""
    total = 0
    for byte in bytes.fromhex(event_id):
        total += 8 - byte.bit_length()
        if byte:
            break
    return total


def mined(bits: int, *target: str, author: Author = ALICE, kind: int = 1, tags: list[list[str]] | None = None) -> Event:
    """An event of exactly this difficulty; `target` is what follows the nonce in its tag."""
    for nonce in count():
        tried = [*(tags or []), ["nonce", str(nonce), *target]]
        event_id = compute_id(author.pubkey, NOW, kind, tried, "mined")
        if leading_zero_bits(event_id) == bits:
            return author.signed(event_id, NOW, kind, tried, "mined")
    raise AssertionError


async def told(event: Event, **policy: Any) -> list[Any]:
    """What its sender hears of an event."""
    rules = rules_for(**({"min_pow_difficulty": DEMANDED} | policy))
    async with open_named(MemoryStore(), rules) as door, open_client(door) as client:
        return await client.publish(event)


@pytest.mark.parametrize(
    ("event_id", "bits"),
    [
        ("000000000e9d97a1ab09fc381030b346cdd7a142ad57e6df0b46dc9bef6c7e2d", 36),
        ("000006d8c378af1779d2feebc7603a125d99eca0ccf1085959b307f64e5dd358", 21),
        ("002f" + "0" * 60, 10),
        ("8" + "0" * 63, 0),
        ("7" + "f" * 63, 1),
        ("0" * 63 + "1", 255),
        ("0" * 64, 256),
    ],
)
def test_difficulty_is_the_number_of_leading_zero_bits_of_the_id(event_id: str, bits: int) -> None:
    assert difficulty_of(event_id) == leading_zero_bits(event_id) == bits


@pytest.mark.parametrize("bits", [DEMANDED, DEMANDED + 1])
async def test_an_id_with_the_demanded_zero_bits_or_more_has_been_mined(bits: int) -> None:
    assert await told(mined(bits, "6")) == [True, ""]


@pytest.mark.parametrize("bits", [0, 3, DEMANDED - 1])
async def test_one_bit_less_is_refused_whatever_it_commits_to(bits: int) -> None:
    for target in ("6", "255"):
        assert await told(mined(bits, target)) == [False, TOO_LITTLE.format(bits)]


async def test_what_is_refused_is_neither_stored_nor_delivered() -> None:
    mined_one, unmined = mined(DEMANDED, "6"), mined(2, "6")
    async with (
        open_named(MemoryStore(), rules_for(min_pow_difficulty=DEMANDED)) as door,
        open_client(door) as client,
    ):
        await client.send("REQ", "live", {"limit": 0})
        assert (await client.receive())[:2] == ["EOSE", "live"]
        assert await client.publish(unmined) == [False, TOO_LITTLE.format(2)]
        await client.send("EVENT", mined_one)
        messages = [await client.receive() for _ in range(2)]
        assert sorted(message[0] for message in messages) == ["EVENT", "OK"]
        assert next(message[2]["id"] for message in messages if message[0] == "EVENT") == mined_one.id
        assert await client.ask({}) == [mined_one.id]


@pytest.mark.parametrize("target", ["6", "7", "20", "255", "006"])
async def test_a_target_at_or_above_the_demand_is_honoured(target: str) -> None:
    """ "Mining": "the third entry to the nonce tag SHOULD contain the target difficulty"."""
    assert await told(mined(DEMANDED, target)) == [True, ""]


@pytest.mark.parametrize("target", ["5", "0"])
async def test_a_lucky_event_that_committed_to_less_is_refused(target: str) -> None:
    assert await told(mined(DEMANDED + 2, target)) == [False, UNCOMMITTED]


async def test_an_event_without_a_commitment_is_refused() -> None:
    assert await told(mined(DEMANDED)) == [False, UNCOMMITTED]


@pytest.mark.parametrize("target", ["", "six", "-6", "6.0", " 6", "6 ", "٦", "0x6", "1000", "9" * 5_000])
async def test_a_target_that_is_no_number_of_bits_is_no_commitment(target: str) -> None:
    assert await told(mined(1 + DEMANDED, target)) == [False, UNCOMMITTED]


async def test_the_first_nonce_tag_is_the_one_that_counts() -> None:
    for first, verdict in ((["nonce", "0", "6"], [True, ""]), (["nonce", "0", "5"], [False, UNCOMMITTED])):
        assert await told(mined(DEMANDED, "6", tags=[first])) == verdict
    assert await told(mined(DEMANDED, "6", tags=[[], ["x", "nonce", "0"]])) == [True, ""]


@pytest.mark.parametrize("kind", [0, 5, 62, 20_001, 30_023])
async def test_events_of_every_kind_need_it(kind: int) -> None:
    tags = [["relay", "ALL_RELAYS"], ["d", "x"]]
    assert await told(mined(DEMANDED - 1, "6", kind=kind, tags=tags)) == [False, TOO_LITTLE.format(DEMANDED - 1)]
    assert await told(mined(DEMANDED, "6", kind=kind, tags=tags)) == [True, ""]


async def test_a_gift_wrap_of_nobody_knows_whom_needs_it_too() -> None:
    nobody, tags = Author("nobody"), [["p", BOB.pubkey]]
    few, enough = (mined(bits, "6", author=nobody, kind=1_059, tags=tags) for bits in (2, DEMANDED))
    assert await told(few) == [False, TOO_LITTLE.format(2)]
    assert await told(enough) == [True, ""]


async def test_work_can_be_done_by_who_does_not_hold_the_key() -> None:
    """ "Delegated Proof of Work": the id does not commit to a signature, so that it may be made afterwards."""
    delegated = mined(DEMANDED, "6", author=BOB)
    assert await told(delegated) == [True, ""]


async def test_work_is_looked_at_before_the_signature() -> None:
    assert await told(made_up("unmined")) == [False, TOO_LITTLE.format(leading_zero_bits(made_up("unmined").id))]


async def test_a_claimed_id_shows_no_work() -> None:
    claimed = ALICE.signed("0" * 64, NOW, 1, [["nonce", "0", "6"]], "mined")
    assert await told(claimed) == [False, "invalid: id is not the hash of the event"]


async def test_admins_need_no_work() -> None:
    assert await told(ALICE.event("unmined"), admins=(ALICE.pubkey,)) == [True, ""]
    assert (await told(BOB.event("unmined"), admins=(ALICE.pubkey,)))[0] is False


async def test_without_a_demand_no_event_needs_it() -> None:
    for event in (ALICE.event("unmined"), mined(0), mined(0, "255")):
        assert await told(event, min_pow_difficulty=0) == [True, ""]
