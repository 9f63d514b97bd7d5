"""NIP-17 and NIP-59, what is taken: wraps by whom they are for, and nothing bare that belongs into one."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.keys import ALICE, BOB, CAROL, Author
from tests.support.named_relay import open_client, open_named, rules_for
from trio_relay import MemoryStore

RANDOM: Final = Author("the random key of a wrap")
BANNED: Final = "blocked: a recipient of this event is banned here"
NOT_ALLOWED: Final = "restricted: a recipient of this event is not among the keys that may write here"
NAMES: Final = "invalid: a gift wrap names 1 to 10 keys in p tags (NIP-59)"
MANY: Final = [Author(f"friend {number}") for number in range(11)]


@pytest.mark.parametrize(
    ("kind", "what"), [(13, "a seal"), (14, "a chat message"), (15, "a file message")], ids=["13", "14", "15"]
)
async def test_what_must_be_wrapped_is_refused_bare(kind: int, what: str) -> None:
    event = ALICE.event("secret", kind=kind, tags=[["p", BOB.pubkey]])
    async with open_named(MemoryStore()) as door, open_client(door, ALICE, BOB) as client:
        reason = f"invalid: kind {kind}, {what}, must come in a gift wrap (NIP-59)"
        assert await client.publish(event) == [False, reason]
        assert await client.ask({"ids": [event.id]}) == []


async def test_the_kinds_beside_them_are_taken() -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        for kind in (12, 16, 1_058, 1_060, 21_058):
            assert await client.publish(ALICE.event(kind=kind)) == [True, ""]


VERDICTS: Final[dict[str, tuple[dict[str, Any], Author, list[Author], str]]] = {
    "for one who is allowed": ({"allowed_pubkeys": (BOB.pubkey,)}, RANDOM, [BOB], ""),
    "for one who is not allowed": ({"allowed_pubkeys": (BOB.pubkey,)}, RANDOM, [CAROL], NOT_ALLOWED),
    "for two of whom one is not allowed": ({"allowed_pubkeys": (BOB.pubkey,)}, RANDOM, [BOB, CAROL], NOT_ALLOWED),
    "for two who are allowed": ({"allowed_pubkeys": (BOB.pubkey, CAROL.pubkey)}, RANDOM, [BOB, CAROL], ""),
    "of one who is allowed, for one who is not": ({"allowed_pubkeys": (BOB.pubkey,)}, BOB, [CAROL], NOT_ALLOWED),
    "for an admin": ({"allowed_pubkeys": (BOB.pubkey,), "admins": (CAROL.pubkey,)}, RANDOM, [CAROL], ""),
    "for one who is banned": ({"denied_pubkeys": (BOB.pubkey,)}, RANDOM, [BOB], BANNED),
    "for two of whom one is banned": ({"denied_pubkeys": (BOB.pubkey,)}, RANDOM, [CAROL, BOB], BANNED),
    "for one who is not banned": ({"denied_pubkeys": (BOB.pubkey,)}, RANDOM, [CAROL], ""),
    "of one who is banned, for one who is not": ({"denied_pubkeys": (BOB.pubkey,)}, BOB, [CAROL], ""),
    "for one whom the web of trust does not reach": ({"trust_depth": 1}, RANDOM, [BOB], NOT_ALLOWED),
    "for nobody": ({}, RANDOM, [], NAMES),
    "for ten": ({}, RANDOM, MANY[:10], ""),
    "for eleven": ({}, RANDOM, MANY, NAMES),
    "for one who is named eleven times": ({}, RANDOM, [BOB] * 11, ""),
}


@pytest.mark.parametrize("kind", [1_059, 21_059])
@pytest.mark.parametrize(("policy", "author", "names", "reason"), VERDICTS.values(), ids=VERDICTS)
async def test_a_wrap_is_judged_by_whom_it_is_for_and_never_by_its_author(
    policy: dict[str, Any], author: Author, names: list[Author], reason: str, kind: int
) -> None:
    wrap = author.event(kind=kind, tags=[["p", name.pubkey] for name in names])
    async with open_named(MemoryStore(), rules_for(**policy)) as door, open_client(door) as client:
        assert await client.publish(wrap) == [not reason, reason]


async def test_a_name_that_is_no_key_is_none() -> None:
    wrap = RANDOM.event(kind=1_059, tags=[["p", BOB.pubkey.upper()], ["p"], ["p", "bob"], ["P", BOB.pubkey]])
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert await client.publish(wrap) == [False, NAMES]


async def test_a_message_is_judged_by_its_author_and_not_by_whom_it_is_for() -> None:
    """NIP-04's author is no random key."""
    message = ALICE.event(kind=4, tags=[["p", BOB.pubkey]])
    for policy, answer in (
        ({"allowed_pubkeys": (ALICE.pubkey,)}, [True, ""]),
        ({"denied_pubkeys": (BOB.pubkey,)}, [True, ""]),
        ({"denied_pubkeys": (ALICE.pubkey,)}, [False, "blocked: the author of this event is banned here"]),
    ):
        async with open_named(MemoryStore(), rules_for(**policy)) as door, open_client(door) as client:  # type: ignore[arg-type]  # fields of PolicyOptions
            assert await client.publish(message) == answer


async def test_who_brings_a_wrap_may_have_to_authenticate_as_anybody() -> None:
    """`auth_to_write` asks for any authenticated key; that of the wrap, which is random, cannot be it."""
    wrap = RANDOM.event(kind=1_059, tags=[["p", BOB.pubkey]])
    async with open_named(MemoryStore(), rules_for(auth_to_write=True)) as door, open_client(door) as client:
        assert await client.publish(wrap) == [False, "auth-required: only authenticated clients may write here"]
        await client.authenticate(ALICE)
        assert await client.publish(wrap) == [True, ""]
