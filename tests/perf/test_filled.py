"""Filled stores: whole, made once, and made anew when they must be."""

from __future__ import annotations

import apsw
import pytest

from perf import filled as filled_module
from perf.corpus import newest_filled
from perf.filled import filled, filled_records
from trio_relay.nostr.negentropy.items import record
from trio_relay.store.sqlite import schema


def test_a_store_is_filled_once_with_all_events_and_no_log() -> None:
    said: list[str] = []
    folder = filled(300, said.append)
    assert len(said) <= 1
    assert filled(300, said.append) == folder
    assert len(said) <= 1
    assert {path.name for path in folder.iterdir()} <= {"relay.db", "relay.db.lock"}
    connection = apsw.Connection(str(folder / "relay.db"), flags=apsw.SQLITE_OPEN_READONLY)
    newest = connection.execute("SELECT hex(id) FROM event ORDER BY created_at DESC LIMIT 1").get
    assert connection.execute("SELECT count(*) FROM event").get == 300
    connection.close()
    assert newest.lower() == newest_filled(300)[-1].id


def test_records_are_of_all_that_is_stored_and_leave_nothing_behind() -> None:
    records = filled_records(305)
    expected = {record(event.created_at, bytes.fromhex(event.id)) for event in newest_filled(305)}
    assert len(records) == 305 * 40
    assert {records[at : at + 40] for at in range(0, len(records), 40)} == expected
    assert {path.name for path in filled(305, print).iterdir()} <= {"relay.db", "relay.db.lock"}


def test_another_schema_gets_another_store(monkeypatch: pytest.MonkeyPatch) -> None:
    before = filled(310, print)
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    after = filled(310, print)
    assert after != before
    assert before.exists()


def test_another_layout_of_the_tables_gets_another_store(monkeypatch: pytest.MonkeyPatch) -> None:
    before = filled(310, print)

    def prepare(connection: apsw.Connection, _path: str) -> None:
        connection.execute("CREATE TABLE event (id BLOB)").fetchall()

    with monkeypatch.context() as patched:
        patched.setattr(schema, "prepare", prepare)
        assert filled_module._layout() not in before.name
    assert filled_module._layout() in before.name
