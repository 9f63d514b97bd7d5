"""Many events removed at once go in parts, with all that finds them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.files import opened
from tests.store.inside import inside
from tests.support.backends import ask, everything
from tests.support.keys import ALICE
from trio_relay import Filter, Saved
from trio_relay.store.sqlite import deletes


async def test_a_deletion_of_many_removes_them_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletes, "EVENTS_AT_A_TIME", 2)
    notes = [ALICE.event(str(number), tags=[["t", "gone"]]) for number in range(5)]
    stays = ALICE.event("stays", tags=[["t", "gone"]])
    deletion = ALICE.event(kind=5, tags=[["e", note.id] for note in notes])
    async with opened(path) as store:
        await store.save_many([*notes, stays])
        assert await store.save_many([deletion]) == [Saved.STORED]
        assert await everything(store) == [stays, deletion]
        assert await ask(store, Filter(tags=(("t", frozenset(["gone"])),))) == [stays]
        tags = inside(store).connection.execute("SELECT count(*) FROM tag").get
        assert tags == 1 + len(notes)  # of what stays, and the deletion's own
