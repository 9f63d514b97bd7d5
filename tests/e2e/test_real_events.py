"""Events that real people signed, through the real program: the answers and the store that an oracle predicts."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from coincurve import PublicKeyXOnly

from tests.support.oracles import NaiveStore, naive_may_read
from tests.support.program import running
from tests.support.program_load import everything
from trio_relay import Event

_EVENTS: Final = Path(__file__).parents[2].parent / "shared" / "data" / "real-events.jsonl"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _EVENTS.exists(), reason="no shared/data/real-events.jsonl beside the project"),
]

_SECONDS_AHEAD: Final = 900
_PRIVATE: Final = (4, 1_059, 21_059)
_ANSWERS: Final = {
    "stored": [True, ""],
    "duplicate": [True, "duplicate"],
    "superseded": [False, "duplicate"],
    "deleted": [False, "blocked"],
}


class Oracle:
    """What a relay should say of each event and have in the end: NIPs 01, 09, 40 and 70 with the standard library.

    Nobody has authenticated (NIP-42).
    """

    def __init__(self) -> None:
        self.store = NaiveStore()

    def answer(self, fields: dict[str, Any]) -> list[object]:
        """Accepted or not, and the word before the colon of the reason."""
        if not (_id_is_right(fields) and _signature_is_right(fields)):
            return [False, "invalid"]
        if fields["created_at"] > time.time() + _SECONDS_AHEAD:
            return [False, "invalid"]
        if 20_000 <= fields["kind"] < 30_000:
            return [True, ""]
        named = {tag[0]: tag[1:] for tag in reversed(fields["tags"]) if tag}
        if int(named.get("expiration", ["9" * 12])[0]) <= time.time():
            return [False, "invalid"]
        if "-" in named:
            return [False, "auth-required"]
        return _ANSWERS[self.store.save(msgspec.convert(fields, Event))]

    def standing(self) -> list[dict[str, Any]]:
        """All that anybody may find, newest first and lower ids first where times are equal."""
        kept = sorted(self.store.standing, key=lambda event: (-event.created_at, event.id))
        return [msgspec.to_builtins(event) for event in kept if naive_may_read(event, [], _PRIVATE)]


def _id_is_right(fields: dict[str, Any]) -> bool:
    array = [0, *(fields[name] for name in ("pubkey", "created_at", "kind", "tags", "content"))]
    canonical = json.dumps(array, separators=(",", ":"), ensure_ascii=False)
    return bool(fields["id"] == hashlib.sha256(canonical.encode()).hexdigest())


def _signature_is_right(fields: dict[str, Any]) -> bool:
    event_id, pubkey, sig = (bytes.fromhex(fields[name]) for name in ("id", "pubkey", "sig"))
    return bool(PublicKeyXOnly(pubkey).verify(sig, event_id))


async def test_real_events_get_the_answers_that_the_oracle_predicts_and_those_it_keeps_come_back(
    tmp_path: Path, store_settings: dict[str, str]
) -> None:
    # Each waits for its answer; a third of them is enough where that takes a request to a cluster or two.
    lines = _EVENTS.read_text(encoding="utf-8").splitlines()[: 300 if store_settings else None]
    oracle = Oracle()
    predicted = [oracle.answer(json.loads(line)) for line in lines]
    answers = []
    async with running(tmp_path, store_settings) as program, program.client() as client:
        for line in lines:
            await client.send_text(f'["EVENT",{line}]')
            challenged = (answer := await client.receive())[0] == "AUTH"
            verb, event_id, accepted, reason = await client.receive() if challenged else answer
            assert (verb, event_id) == ("OK", json.loads(line)["id"])
            answers.append([accepted, reason.partition(":")[0]])
            # NIP-42: the challenge comes in front of the first refusal that it could mend.
            assert challenged == (answers[-1] == [False, "auth-required"] and answers.count(answers[-1]) == 1)
        found = await everything(client)
    assert answers == predicted
    assert found == oracle.standing()


async def test_real_events_that_were_tampered_with_are_refused(tmp_path: Path, store_settings: dict[str, str]) -> None:
    events = [json.loads(line) for line in _EVENTS.read_text(encoding="utf-8").splitlines()[:200]]
    events = [event for event in events if not any(tag[:1] == ["expiration"] for tag in event["tags"])]
    answers = set()
    async with running(tmp_path, store_settings) as program, program.client() as client:
        for event, other in zip(events, [*events[1:], events[0]], strict=True):
            for forged in (event | {"content": event["content"] + " "}, event | {"sig": other["sig"]}):
                await client.send("EVENT", forged)
                _, _, accepted, reason = await client.receive()
                answers.add((accepted, reason))
        assert await everything(client) == []
    assert answers == {
        (False, "invalid: id is not the hash of the event"),
        (False, "invalid: sig is not a valid signature of the id by the pubkey"),
    }
