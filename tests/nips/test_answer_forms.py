"""Answers have the number of elements and the types that their NIP first gave them: some parsers compare lengths."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.support.keys import ALICE, NOW
from tests.support.named_relay import open_client, open_named, rules_for
from trio_relay import Event, Limits, MemoryStore

NOTE: Final = ALICE.event("note", created_at=NOW)
FORMS: Final[dict[str, list[type]]] = {
    "EVENT": [str, str, dict],
    "OK": [str, str, bool, str],
    "EOSE": [str, str],
    "CLOSED": [str, str, str],
    "NOTICE": [str, str],
    "AUTH": [str, str],
    "COUNT": [str, str, dict],
    "NEG-MSG": [str, str, str],
    "NEG-ERR": [str, str, str],
}
ASKED: Final[list[tuple[list[Any], list[str]]]] = [
    (["EVENT", NOTE], ["OK"]),
    (["EVENT", NOTE], ["OK"]),
    (["EVENT", ALICE.event(created_at=2**33)], ["OK"]),
    (["REQ", "all", {"kinds": [1]}], ["EVENT", "EOSE"]),
    (["REQ", "cut", {"limit": 1}], ["EVENT", "EOSE"]),
    (["REQ", "nothing", {"kinds": [7]}], ["EOSE"]),
    (["REQ", "no stored ones", {"limit": 0}], ["EOSE"]),
    (["REQ", "wrong", {"limit": -1}], ["CLOSED"]),
    (["REQ", "private", {"kinds": [4]}], ["AUTH", "CLOSED"]),
    (["REQ"], ["NOTICE"]),
    (["COUNT", "number", {"kinds": [1]}], ["COUNT"]),
    (["COUNT", "with registers", {"kinds": [7], "#e": ["0" * 64]}], ["COUNT"]),
    (["NEG-OPEN", "sync", {"kinds": [1]}, "6100000200"], ["NEG-MSG"]),
    (["NEG-MSG", "no sync", "61"], ["NEG-ERR"]),
]


async def test_every_answer_has_the_form_that_old_parsers_read() -> None:
    store = MemoryStore()
    await store.save_many([ALICE.event("another", created_at=NOW - 1)])
    async with open_named(store, rules_for(limits=Limits(default_limit=100))) as door, open_client(door) as client:
        for asked, verbs in ASKED:
            await client.send(*asked)
            answers = [await client.receive()]
            while answers[-1][0] == "EVENT" or (answers[-1][0] == "AUTH" and len(verbs) > 1):
                answers.append(await client.receive())
            assert list(dict.fromkeys(answer[0] for answer in answers)) == verbs, asked
            for answer in answers:
                assert [type(item) for item in answer] == FORMS[answer[0]]


@pytest.mark.parametrize(
    ("filters", "members"),
    [([{"kinds": [1]}], {"count"}), ([{"kinds": [7], "#e": ["0" * 64]}], {"count", "hll"})],
    ids=["a number", "with registers"],
)
async def test_a_count_is_an_object_and_its_further_member_comes_only_where_the_nip_asks_for_it(
    filters: list[dict[str, Any]], members: set[str]
) -> None:
    async with open_named(MemoryStore()) as door, open_client(door) as client:
        assert (await client.count(*filters)).keys() == members


async def test_an_event_is_sent_with_its_seven_fields_and_no_more() -> None:
    store = MemoryStore()
    await store.save_many([NOTE])
    async with open_named(store) as door, open_client(door) as client:
        await client.send("REQ", "sub", {})
        assert list((await client.receive())[2]) == list(Event.__struct_fields__)
