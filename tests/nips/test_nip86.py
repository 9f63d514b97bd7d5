"""NIP-86: the methods that judge keys, events and kinds, over HTTP, with their effect on clients that are connected."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.keys import NOW
from tests.support.operators import ADMIN, BY_ADMIN, managed, operator
from trio_relay import MemoryStore, Store

HEX = "ab" * 32
A_KEY = "a key is 64 hex characters, or starts with npub1 or nprofile1"
PAIRS = [
    ("banpubkey", "unbanpubkey", "listbannedpubkeys", "pubkey", HEX),
    ("allowpubkey", "unallowpubkey", "listallowedpubkeys", "pubkey", HEX),
    ("banevent", "unbanevent", "listbannedevents", "id", HEX),
    ("allowevent", "unallowevent", "listallowedevents", "id", HEX),
    ("blockip", "unblockip", "listblockedips", "ip", "203.0.113.7"),
    ("denyword", "undenyword", "listdeniedwords", "word", "buy now"),
]
NO_TIMES: list[object] = [NOW, 0, 2**33, "tomorrow", [], float(NOW + 60), True]
KIND_PAIRS = [
    ("allowkind", "unallowkind", "listallowedkinds"),
    ("disallowkind", "undisallowkind", "listdisallowedkinds"),
]


class TestMethods:
    """What all of them have in common."""

    async def test_the_supported_ones_are_told_but_for_the_one_that_tells_them(self, store: Store) -> None:
        async with managed(store) as door, operator(door) as admin:
            methods = await admin.call("supportedmethods")
            of_nip = {name for pair in PAIRS for name in pair[:3]} | {name for pair in KIND_PAIRS for name in pair}
            of_nip |= {"listeventsneedingmoderation", "changerelayname", "changerelaydescription", "changerelayicon"}
            of_nip |= {"createrole", "editrole", "deleterole", "assignrole", "unassignrole", "listroles"}
            of_nip |= {"assignmethod", "unassignmethod", "listmethodassignees", "stats"}
            of_nip |= {"listacts", "undoact", "listreportedevents"}
            of_nip |= {"listmembers", "addmember", "removemember", "createinvite", "listinvites", "deleteinvite"}
            of_nip |= {"listsettings"}
            of_nip |= {"listvitals", "backupnow", "exportevents"}
            of_nip |= {"countevents", "removeevents", "checkstore", "compactstore", "runretention"}
            of_nip |= {"listclients", "disconnectclient", "listrefusals", "listslowrequests", "listmirrors"}
            of_nip |= {"explainfilters", "explainevent", "storestats", "findevents", "queryarchive"}
            assert sorted(methods) == sorted(of_nip)

    @pytest.mark.parametrize(("put", "take", "show", "field", "item"), PAIRS)
    async def test_what_is_put_on_a_list_is_told_until_it_is_taken_off(
        self, put: str, take: str, show: str, field: str, item: str
    ) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert await admin.call(show) == []
            assert await admin.call(put, item, "a reason") is True
            assert await admin.call(show) == [{field: item, "reason": "a reason", **BY_ADMIN}]
            assert await admin.call(put, item) is True
            assert await admin.call(show) == [{field: item, "reason": "", **BY_ADMIN}]
            assert await admin.call(take, item, "mistaken") is True
            assert await admin.call(show) == []
            assert await admin.call(take, item) is True

    @pytest.mark.parametrize(("put", "take", "show"), KIND_PAIRS)
    async def test_kinds_are_numbers(self, put: str, take: str, show: str) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            for kind in (65_535, 0, 65_535):
                assert await admin.call(put, kind) is True
            assert await admin.call(show) == [0, 65_535]
            assert await admin.call(take, 0) is True
            assert await admin.call(show) == [65_535]

    @pytest.mark.parametrize(
        ("put", "shown", "opposite", "opposite_shown", "item"),
        [
            ("banpubkey", "listbannedpubkeys", "allowpubkey", "listallowedpubkeys", HEX),
            ("banevent", "listbannedevents", "allowevent", "listallowedevents", HEX),
            ("disallowkind", "listdisallowedkinds", "allowkind", "listallowedkinds", 1),
        ],
    )
    async def test_nothing_is_both_allowed_and_banned(
        self, put: str, shown: str, opposite: str, opposite_shown: str, item: object
    ) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            for first, then, off, on in (
                (put, opposite, shown, opposite_shown),
                (opposite, put, opposite_shown, shown),
            ):
                await admin.call(first, item)
                await admin.call(then, item)
                assert await admin.call(off) == []
                assert len(await admin.call(on)) == 1

    @pytest.mark.parametrize(
        ("take", "opposite_shown"),
        [
            ("unbanpubkey", "listallowedpubkeys"),
            ("unallowpubkey", "listbannedpubkeys"),
            ("unbanevent", "listallowedevents"),
            ("unallowevent", "listbannedevents"),
        ],
    )
    async def test_what_is_taken_off_one_list_does_not_go_on_the_other(self, take: str, opposite_shown: str) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert await admin.call(take, HEX) is True
            assert await admin.call(opposite_shown) == []

    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"[]", b"{}", b'{"method":1}', b'{"method":"stats","params":{}}', b"\xff", b"[" * 60_000],
    )
    async def test_a_body_that_is_no_call_is_400(self, body: bytes) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            reply = await admin.post(body)
            expected = "the body must be a JSON object with a method, a text, and params, an array"
            assert (reply.status, json.loads(reply.body)) == (400, {"error": expected})
            assert await admin.call("listbannedpubkeys") == []

    async def test_parameters_that_are_missing_are_none(self) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert json.loads((await admin.post(b'{"method":"listallowedkinds"}')).body) == {"result": []}

    @pytest.mark.parametrize(
        ("method", "params", "error"),
        [
            ("signevent", [], "unsupported: there is no such method"),
            ("supportedmethods", [1], "invalid: supportedmethods takes no parameters"),
            ("listbannedpubkeys", [1], "invalid: listbannedpubkeys takes no parameters"),
            ("listeventsneedingmoderation", [1], "invalid: listeventsneedingmoderation takes no parameters"),
            ("stats", [1], "invalid: stats takes no parameters"),
            ("banpubkey", [HEX, "", None, 1], "invalid: banpubkey takes 3 parameters at most"),
            ("allowpubkey", [HEX, "", NOW + 1], "invalid: allowpubkey takes 2 parameters at most"),
            ("unbanpubkey", [HEX, "", 1], "invalid: unbanpubkey takes 2 parameters at most"),
            *(
                ("banpubkey", params, "invalid: parameter 1 of banpubkey must be a pubkey, a text")
                for params in ([], [None], [1], [[HEX]])
            ),
            *(
                ("banpubkey", [text], f"invalid: parameter 1 of banpubkey must be a pubkey: {reason}")
                for text, reason in (
                    (HEX[1:], f"'{HEX[1:25]}…' is no key: {A_KEY}"),
                    ("alice", f"'alice' is no key: {A_KEY}"),
                    ("npub1xyz", "'npub1xyz' is no key: a character is missing or wrong"),
                )
            ),
            *(
                ("denyword", [word], f"invalid: parameter 1 of denyword must be a text{rest}")
                for word, rest in (
                    ("", ", a text of 1 to 200 characters"),
                    ("x" * 201, ", a text of 1 to 200 characters"),
                    (" ", " of 1 to 200 characters that is not blank"),
                    ("ß" * 101, " of 1 to 200 characters that is not blank"),
                )
            ),
            (
                "banevent",
                ["note1xyz"],
                "invalid: parameter 1 of banevent must be an event's id, 64 lowercase hex characters",
            ),
            *(
                ("allowkind", [kind], "invalid: parameter 1 of allowkind must be a kind, an integer from 0 to 65535")
                for kind in (-1, 65_536, 1.0, True, "1", None)
            ),
            *(
                ("banpubkey", [HEX, reason], "invalid: parameter 2 of banpubkey must be a reason,"
                 " a text of 0 to 1000 characters")
                for reason in (1, ["spam"], "r" * 1_001)
            ),
            *(
                ("banpubkey", [HEX, "", until], "invalid: parameter 3 of banpubkey must be the time of its end in"
                 f" seconds since 1970, an integer from {NOW + 1} to {2**33 - 1}")
                for until in NO_TIMES
            ),
        ],
    )  # fmt: skip
    async def test_parameters_that_are_not_right_are_refused_by_name(
        self, method: str, params: list[object], error: str
    ) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert await admin.refusal(method, *params) == error

    @pytest.mark.parametrize("params", [[HEX, "r" * 1_000], [HEX, None], [HEX, ""], [HEX, "", None]])
    async def test_reason_and_end_may_be_left_out(self, params: list[object]) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert await admin.call("banpubkey", *params) is True

    async def test_a_change_is_logged_with_who_made_it(self, logged: list[dict[str, Any]]) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            for call in (["banpubkey", HEX, "spam"], ["listbannedpubkeys"], ["unbanevent", HEX]):
                await admin.call(*call)
        [entry] = [entry for entry in logged if entry["event"] == "managed"]
        told = {"method": "banpubkey", "item": HEX, "by": ADMIN.pubkey, "removed": 0}
        assert entry.items() >= told.items()
