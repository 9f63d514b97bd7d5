"""NIP-86: the methods that answer "why", past the gate and without any effect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.keys import ALICE, BOB, NOW
from tests.support.named_relay import open_named, rules_for
from tests.support.operators import ADMIN, managed, operator
from trio_relay import Limits, MemberOptions, MemoryStore, Store

NOTE = ALICE.event("tea", created_at=NOW)
SECRETS = [ALICE.event(f"?iv={n}", kind=4, created_at=NOW + n, tags=[["p", BOB.pubkey]]) for n in range(3)]
PRIVATE = [*SECRETS, BOB.event("to nobody", kind=4, created_at=NOW + 9)]
ACCEPTED = {"accepted": True, "reason": "", "setting": ""}


class TestExplainFilters:
    """`explainfilters`."""

    async def test_an_answer_is_explained_with_what_the_gate_hides(self, store: Store) -> None:
        await store.save_many([NOTE, *PRIVATE])
        async with managed(store) as door, operator(door) as admin:
            answer = await admin.call("explainfilters", [{}, {"kinds": [1, 4], "limit": 2}, {"kinds": [1]}])
            assert answer["verdict"] == ACCEPTED
            assert [one["filter"] for one in answer["filters"]] == [{}, {"kinds": [1, 4], "limit": 2}, {"kinds": [1]}]
            assert [(one["found"], one["hidden"]) for one in answer["filters"]] == [(1, 4), (1, 4), (1, 0)]
            for one in answer["filters"]:
                assert sorted(one) == ["filter", "found", "hidden", "looked_at", "plan", "seconds"]
                assert all(sorted(step) == ["detail", "index"] for step in one["plan"])
                assert one["looked_at"] >= one["found"]
                assert one["plan"]

    @pytest.mark.parametrize(("key", "found", "hidden"), [(ALICE, 4, 1), (BOB, 5, 0), (ADMIN, 1, 4), (None, 1, 4)])
    async def test_it_can_be_asked_as_anybody(self, key: Any, found: int, hidden: int) -> None:
        store = MemoryStore()
        await store.save_many([NOTE, *PRIVATE])
        async with managed(store) as door, operator(door) as admin:
            answer = await admin.call("explainfilters", [{}], {"key": key and key.pubkey})
            (one,) = answer["filters"]
            assert (one["found"], one["hidden"]) == (found, hidden)

    @pytest.mark.parametrize(
        ("sources", "reason", "setting"),
        [
            ([{}] * 3, "error: at most 2 filters in a REQ (max_filters)", "limits.max_filters"),
            ([{"kinds": [1], "x": 1}], "unsupported: filter key 'x' is not known here", ""),
            ([{"ids": ["a"]}], "invalid: ids must hold strings of 64 lowercase hex characters", ""),
            ([7], "invalid: a filter must be an object", ""),
            (
                [{"kinds": list(range(60))}],
                "error: at most 50 values in the filters of a connection (max_filter_values)",
                "limits.max_filter_values",
            ),
            ([{"search": "tea"}], "unsupported: search is off on this relay", "store.search"),
        ],
    )
    async def test_what_is_refused_when_it_is_read_has_no_plan(
        self, sources: list[object], reason: str, setting: str
    ) -> None:
        rules = rules_for(limits=Limits(max_filters=2, max_filter_values=50), has_search=False, admins=(ADMIN.pubkey,))
        async with open_named(MemoryStore(), rules, clock=lambda: NOW) as door, operator(door) as admin:
            answer = await admin.call("explainfilters", sources)
            assert answer == {"verdict": {"accepted": False, "reason": reason, "setting": setting}, "filters": []}

    @pytest.mark.parametrize(
        ("policy", "members", "setting"),
        [
            ({"auth_to_read": True}, MemberOptions(), "policy.auth_to_read"),
            ({}, MemberOptions(enabled=True, members_read=True), "members.members_read"),
            ({"private_kinds": (1, 4)}, MemberOptions(), "policy.private_kinds"),
        ],
    )
    async def test_what_policy_refuses_is_told_with_its_setting_and_explained_all_the_same(
        self, policy: dict[str, Any], members: MemberOptions, setting: str
    ) -> None:
        store = MemoryStore()
        await store.save_many([NOTE])
        rules = rules_for(members=members, admins=(ADMIN.pubkey,), **policy)
        async with open_named(store, rules, clock=lambda: NOW) as door, operator(door) as admin:
            answer = await admin.call("explainfilters", [{"kinds": [1]}])
            assert answer["verdict"]["accepted"] is False
            assert answer["verdict"]["reason"].startswith("auth-required: ")
            assert answer["verdict"]["setting"] == setting
            assert len(answer["filters"]) == 1

    @pytest.mark.parametrize(
        ("params", "error"),
        [
            ([], "parameter 1 of explainfilters must be a list of filters"),
            ([{}], "parameter 1 of explainfilters must be a list of filters"),
            ([[]], "parameter 1 of explainfilters must be a list of filters"),
            ([[{}], "me"], "parameter 2 of explainfilters must be an object of key"),
            ([[{}], {"name": "me"}], "parameter 2 of explainfilters must be an object of key"),
            ([[{}], {"key": 7}], "key must be a text of 200 characters at most"),
            (
                [[{}], {"key": "me"}],
                "key must be a pubkey: 'me' is no key: a key is 64 hex characters, or starts with npub1 or nprofile1",
            ),
            ([[{}], {}, 1], "explainfilters takes 2 parameters at most"),
        ],
    )
    async def test_parameters_are_read_strictly(self, params: list[object], error: str) -> None:
        async with managed(MemoryStore()) as door, operator(door) as admin:
            assert await admin.refusal("explainfilters", *params) == f"invalid: {error}"
