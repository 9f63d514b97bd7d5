"""The file of what operators have decided: it holds all of it, and is taken whole or not at all."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import ALICE, BOB, NOW
from tests.support.marks import in_order
from trio_relay import MemoryStore, Store, StoreError
from trio_relay.moderation.state import SECRET_NAME, restore
from trio_relay.policy.lists import Change, ListEntry, ListName, as_metadata
from trio_relay.private_files import written_whole
from trio_relay.state_file import (
    CARRIED,
    Decisions,
    StateRefused,
    changes_between,
    from_json,
    kept_in,
    lost,
    to_json,
    write_file,
)

SECRET = bytes(31) + b"\x01"
ACT = f"{NOW}000-00000000"
ENTRIES = {
    (ListName.BANNED_PUBKEYS, ALICE.pubkey): ListEntry("spam", NOW + 9, NOW),
    (ListName.ALLOWED_PUBKEYS, BOB.pubkey): ListEntry(since=NOW),
    (ListName.BANNED_EVENTS, "1" * 64): ListEntry("bad\n\u2028 🦀", since=NOW),
    (ListName.ALLOWED_EVENTS, "2" * 64): ListEntry(),
    (ListName.REPORTED_EVENTS, "3" * 64): ListEntry("rude", since=NOW, data={"reporters": [ALICE.pubkey]}),
    (ListName.BLOCKED_ADDRESSES, "203.0.113.0/24"): ListEntry(),
    (ListName.BLOCKED_ADDRESSES, "203.0.113.7"): ListEntry(),
    (ListName.ALLOWED_KINDS, "0"): ListEntry(),
    (ListName.DISALLOWED_KINDS, "65535"): ListEntry(),
    (ListName.ROLES, "co/ok"): ListEntry(data={"label": "Cook", "description": "", "color": None, "order": -1}),
    (ListName.ROLE_HOLDERS, BOB.pubkey): ListEntry(data={"roles": ["co/ok"]}),
    (ListName.METHODS, BOB.pubkey): ListEntry(data={"methods": ["banevent"]}),
    (ListName.MEMBERS, BOB.pubkey): ListEntry(since=NOW),
    (ListName.CLAIMS, "code"): ListEntry(until=NOW + 5, data={"by": BOB.pubkey}),
    (ListName.DENIED_WORDS, "buy now"): ListEntry(until=NOW + 5, by=ALICE.pubkey),
    (ListName.IDENTITY, "name"): ListEntry("a club", by=ALICE.pubkey),
    (ListName.ACTS, ACT): ListEntry(data={"method": "banevent", "steps": "[]"}, by="operator"),
}
STATE = Decisions(ENTRIES, SECRET)


def metadata_of(entries: Mapping[tuple[ListName, str], ListEntry]) -> dict[str, bytes | None]:
    return as_metadata(Change(*key, entry) for key, entry in entries.items())


async def kept(store: Store) -> Decisions:
    return kept_in(await store.get_metadata())


def test_every_list_is_in_the_file_but_what_is_still_to_be_removed() -> None:
    assert {name for name, _ in ENTRIES} == set(CARRIED) == set(ListName) - {ListName.REMOVALS}


async def test_what_a_store_keeps_goes_through_a_file_into_another_store() -> None:
    store, other = MemoryStore(), MemoryStore()
    pending = Change(ListName.REMOVALS, f"pubkey:{ALICE.pubkey}", ListEntry(since=NOW))
    await store.put_metadata({**metadata_of(ENTRIES), **as_metadata([pending]), SECRET_NAME: SECRET})
    written = to_json(await kept(store))
    state = from_json(written)
    assert state == STATE == await kept(store)
    await restore(other, changes_between(await kept(other), state, NOW), state.secret)
    assert await kept(other) == STATE
    assert to_json(await kept(other)) == written
    pending_again = {"removals/id:" + "1" * 64, f"removals/pubkey:{ALICE.pubkey}"}
    found = {name: value for name, value in (await other.get_metadata()).items() if name not in pending_again}
    assert found == {**metadata_of(ENTRIES), SECRET_NAME: SECRET}
    assert pending_again < (await other.get_metadata()).keys()  # what is banned goes, if it is there


def test_the_file_is_for_people_and_has_the_key_only_where_it_is_given() -> None:
    text = to_json(Decisions({(ListName.IDENTITY, "name"): ListEntry("a club")})).decode()
    assert text.startswith(
        '{\n  "format": "trio-relay state",\n  "version": 1,\n  "lists": {\n    "banned-pubkeys": {},'
    )
    assert (
        '    "identity": {\n      "name": {\n        "reason": "a club"\n      }\n    },\n    "acts": {}\n  }\n}\n'
        in text
    )
    assert "secret_key" not in text
    assert json.loads(to_json(Decisions({}, b"")))["secret_key"] == ""
    assert json.loads(to_json(STATE))["secret_key"] == SECRET.hex()


def test_how_much_there_is_is_said() -> None:
    assert str(Decisions({})) == "no entries; without the relay's key"
    assert str(Decisions({}, b"")) == "no entries; the relay has no key"
    two = {(ListName.MEMBERS, key.pubkey): ListEntry() for key in (ALICE, BOB)}
    told = str(Decisions(two | {(ListName.ROLES, "cook"): ListEntry()}, SECRET))
    assert told == "2 in members, 1 in roles; with the relay's key"


def test_what_a_newer_version_keeps_is_not_left_out_in_silence() -> None:
    with pytest.raises(StateRefused, match="the store keeps moons, pins, which this version does not know"):
        kept_in({"pins/x": b"{}", "members/" + ALICE.pubkey: b"{}", "moons": b"1"})


def spoilt(**changed: Any) -> bytes:
    file = json.loads(to_json(STATE))
    for path, value in changed.items():
        *way, last = path.split("__")
        place = file
        for step in way:
            place = place[step]
        place[last] = value
    return json.dumps(file).encode()


def listed(name: str, item: str, **entry: Any) -> bytes:
    file = json.loads(to_json(Decisions({})))
    file["lists"][name] = {item: entry}
    return json.dumps(file).encode()


NO_STATE = 'this is no state of a relay, which has "format": "trio-relay state"'
KEY = "a pubkey, 64 lowercase hex characters"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it cannot be read: "),
        (to_json(STATE)[:-20], "it cannot be read: "),
        (b"[" * 100_000, "it cannot be read: "),
        (b"\xff", "it cannot be read: "),
        (b"[]", NO_STATE),
        (b"{}", NO_STATE),
        (spoilt(format="another"), NO_STATE),
        (spoilt(version=2), "this is version 2; this program reads version 1"),
        (spoilt(version="1"), "this is version '1'; this program reads version 1"),
        (spoilt(more={}), "it cannot be read: Object contains unknown field `more`"),
        (spoilt(lists=[]), "it cannot be read: Expected `object`, got `array`"),
        (spoilt(lists__pins={}), "it holds a list 'pins', which this version does not know"),
        (spoilt(lists__removals={}), "it holds a list 'removals', which this version does not know"),
        (listed("members", ALICE.pubkey, color=1), "it cannot be read: Object contains unknown field `color`"),
        (listed("members", ALICE.pubkey, since="x"), "it cannot be read: Expected `int`, got `str`"),
        (listed("members", "A" * 64), f"members: '{'A' * 64}' is not {KEY}"),
        (listed("banned-pubkeys", "npub1"), f"banned-pubkeys: 'npub1' is not {KEY}"),
        (listed("banned-events", ""), "banned-events: '' is not an event's id, 64 lowercase hex characters"),
        (listed("allowed-kinds", "65536"), "allowed-kinds: '65536' is not a kind, 0 to 65535"),
        (listed("allowed-kinds", "01"), "allowed-kinds: '01' is not a kind, 0 to 65535"),
        (listed("disallowed-kinds", "٣"), "disallowed-kinds: '٣' is not a kind, 0 to 65535"),
        (listed("blocked-addresses", "everybody"), "blocked-addresses: 'everybody' is not an IP address or network"),
        (listed("blocked-addresses", "::1"), "blocked-addresses: '::1' is not an IP address or network"),
        (listed("identity", "pubkey"), "identity: 'pubkey' is not name, description or icon"),
        (listed("roles", "x" * 201), f"roles: '{'x' * 200}' is not a text of 1 to 200 characters"),
        (listed("members", ALICE.pubkey, until=-1), f"members: '{ALICE.pubkey}': until must be between 0 and"),
        (listed("members", ALICE.pubkey, since=2**33), f"members: '{ALICE.pubkey}': since must be between 0 and"),
        (listed("roles", "x", data={"hat": "red"}), "roles: 'x': data has 'hat', which this version does not know"),
        (listed("roles", "x", data={"order": "1"}), "roles: 'x': order is of the wrong type"),
        (listed("methods", ALICE.pubkey, data={"methods": "all"}), f"methods: '{ALICE.pubkey}': methods is of the"),
        (listed("members", ALICE.pubkey, by="me"), f"members: '{ALICE.pubkey}': by must be {KEY}, or 'operator'"),
        (listed("denied-words", "Buy"), "denied-words: 'Buy' is not a text of 1 to 200 characters, in lower case"),
        (listed("acts", "1"), "acts: '1' is not the number of an act"),
        (listed("acts", ACT, data={"steps": "[[]]"}), f"acts: '{ACT}': steps cannot be read"),
        (spoilt(secret_key="0" * 64), "secret_key is not the secret key of anybody, 64 hex characters"),
        (spoilt(secret_key="12"), "secret_key is not the secret key of anybody, 64 hex characters"),
        (spoilt(secret_key="x" * 64), "secret_key is not the secret key of anybody, 64 hex characters"),
    ],
    ids=range(37),
)
def test_what_is_unknown_or_impossible_is_refused_by_its_name(data: bytes, why: str) -> None:
    with pytest.raises(StateRefused) as refused:
        from_json(data)
    assert str(refused.value).startswith(why)


@given(st.binary(max_size=100))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(StateRefused):
        from_json(data)


@given(st.sampled_from(in_order({name.value for name in CARRIED})), st.text(max_size=70), st.data())
def test_whatever_is_taken_can_be_kept(name: str, item: str, data: st.DataObject) -> None:
    """No file may leave a store with something that the next start cannot read."""
    fields = st.dictionaries(st.sampled_from(["roles", "by", "order", "label"]), st.integers() | st.text(max_size=3))
    file = listed(name, item, since=data.draw(st.integers()), data=data.draw(fields))
    try:
        state = from_json(file)
    except StateRefused:
        return
    values = {key: value for key, value in metadata_of(state.entries).items() if value is not None}
    assert kept_in(values).entries == state.entries


async def test_a_store_that_has_decisions_of_its_own_is_told_what_it_would_lose() -> None:
    there = deepcopy(ENTRIES)
    assert lost(Decisions({}), STATE) == lost(STATE, STATE) == lost(Decisions(there), STATE) == ""
    there[ListName.MEMBERS, ALICE.pubkey] = ListEntry()
    there[ListName.IDENTITY, "name"] = ListEntry("another")
    assert lost(Decisions(there, SECRET), STATE) == "1 in identity, 1 in members"
    assert lost(Decisions(there, bytes(31) + b"\x02"), STATE) == "1 in identity, 1 in members, its own key"
    assert lost(Decisions({}, bytes(31) + b"\x02"), Decisions(ENTRIES)) == ""  # a file without a key takes none away


async def test_what_replaces_takes_off_what_is_not_in_the_file() -> None:
    store = MemoryStore()
    before = {(ListName.MEMBERS, ALICE.pubkey): ListEntry(), (ListName.IDENTITY, "name"): ListEntry("another")}
    await store.put_metadata({**metadata_of(before), SECRET_NAME: SECRET})
    file = Decisions(ENTRIES)
    await restore(store, changes_between(await kept(store), file, NOW), None)
    assert await kept(store) == Decisions(ENTRIES, SECRET)
    assert changes_between(await kept(store), file, NOW) == []


async def test_a_store_that_fails_has_all_of_it_or_nothing() -> None:
    store = MemoryStoreThatFails(failures=1)
    await store.really_put({"members/" + ALICE.pubkey: b"{}"})
    with pytest.raises(StoreError, match=r"^no room$"):
        await restore(store, changes_between(await kept(store), STATE, NOW), SECRET)
    assert await store.get_metadata() == {"members/" + ALICE.pubkey: b"{}"}
    store = MemoryStoreThatFails(failures=2)
    with pytest.raises(StoreError, match=r"^no room; a part may be kept: the same can be done again$"):
        await restore(store, changes_between(await kept(store), STATE, NOW), SECRET)
    await restore(store, changes_between(await kept(store), STATE, NOW), SECRET)
    assert await kept(store) == STATE


async def test_a_file_adds_to_the_audit_log_and_takes_nothing_from_it() -> None:
    store, own = MemoryStore(), f"{NOW + 1}000-11111111"
    told_otherwise = ListEntry(data={"method": "banevent", "told": "here"})
    there = {(ListName.ACTS, own): ListEntry(by=BOB.pubkey), (ListName.ACTS, ACT): told_otherwise}
    await store.put_metadata(metadata_of(there))
    assert lost(await kept(store), STATE) == lost(await kept(store), Decisions({})) == ""
    await restore(store, changes_between(await kept(store), STATE, NOW), None)
    assert (await kept(store)).entries == {**ENTRIES, **there}


class MemoryStoreThatFails(MemoryStore):
    """A store without transactions, whose first writes keep a half and fail."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def really_put(self, changes: Mapping[str, bytes | None]) -> None:
        """A write that does not fail."""
        await super().put_metadata(changes)

    async def put_metadata(self, changes: Mapping[str, bytes | None]) -> None:
        if self.failures:
            self.failures -= 1
            await super().put_metadata(dict(list(changes.items())[::2]))
            raise StoreError("no room")
        await super().put_metadata(changes)


def test_only_the_owner_may_read_the_file_and_the_old_one_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_file(path, b"new")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_stays_as_it_was_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "backup.jsonl"
    path.write_bytes(b"yesterday")
    path.chmod(0o640)

    def write_half() -> None:
        with written_whole(path) as file:
            file.write(b"half")
            file.flush()
            assert path.read_bytes() == b"yesterday"
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert [(one.name, one.read_bytes()) for one in tmp_path.iterdir()] == [("backup.jsonl", b"yesterday")]
    with written_whole(path) as file:
        file.write(b"today")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"today", 0o600)
