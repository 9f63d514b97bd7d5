"""Any bytes where a plugin answers: no verdict comes of what is none, and the next question is answered nonetheless."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import Any, Final

import structlog
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.fuzz.script import pieces
from tests.plugins.puppets import Troupe
from trio_relay import Filter
from trio_relay.plugins import Answer, BadAnswer, refusal_of, verdict_on_event, verdict_on_request

_ASKED: Final = ("a", "b", "c")
_ALARMS: Final = frozenset({"a plugin wrote what is no answer"})


def _line(**fields: object) -> bytes:
    return json.dumps(fields).encode() + b"\n"


VOCABULARY: Final = [
    _line(id="a", action="accept"),
    _line(id="b", action="reject", msg="blocked: no\r\nOK"),
    _line(id="c", action="shadowReject", msg=None),
    _line(id="a", action="accept", filters=[{"kinds": [1]}, {"#t": ["x"], "search": "tea"}]),
    _line(id="b", action="accept", filters=[]),
    _line(id="c", action="nothing"),
    _line(id="x", action="accept"),
    b"no JSON\n",
    b"\n",
]


def feed(script: bytes) -> None:
    """Have a plugin that was asked three things write what a script says, and then answer one more as it should.

    Raises:
        AssertionError: an answer is taken that was not given, or the last one is not.
    """
    sent = pieces(script, VOCABULARY)
    with structlog.testing.capture_logs() as told:
        answers = trio.run(partial(_ask, sent), clock=MockClock(autojump_threshold=0))
    assert {line["event"] for line in told if line["log_level"] not in ("debug", "info")} <= _ALARMS
    *lines, _ = b"".join(sent).split(b"\n")
    for key, answer in answers.items():
        if answer is not None:
            assert (answer.id, answer.action) in [(key, written.get("action")) for written in map(_read, lines)]
            _check_verdicts(answer)
    whole = {key for key, line in zip(_ASKED, VOCABULARY[:3], strict=True) if line.strip() in lines}
    assert whole <= {key for key, answer in answers.items() if answer is not None}


async def _ask(sent: list[bytes]) -> dict[str, Answer | None]:
    troupe = Troupe(in_flight=len(_ASKED) + 1)
    async with troupe.playing():
        await troupe.ask(*_ASKED)
        for piece in sent:
            await troupe.last.say(piece)
        given = {key: answer for key, answer in troupe.answers.items() if answer is not None}
        await troupe.ask("last")
        await troupe.last.say(b"\n")  # the end of whatever has begun
        await troupe.last.accept("last")
        assert troupe.actions["last"] == "accept"
        await wait_all_tasks_blocked()
    return {key: given.get(key) for key in _ASKED}


def _read(line: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        found = json.loads(line.decode())
        return found if isinstance(found, dict) and found.get("id") in _ASKED else {}
    return {}


def _check_verdicts(answer: Answer) -> None:
    """What comes of it: a verdict, whose words are one line with a prefix, and whose filters count."""
    asked = [Filter(kinds=frozenset([1])), Filter()]
    for decide in (verdict_on_event, partial(verdict_on_request, asked=asked)):
        with suppress(BadAnswer):
            verdict = decide(answer)
            prefix, _, words = str(refusal_of(verdict)).partition(": ")
            assert prefix
            assert words.isprintable() or not words.isascii()
            assert all(one.weight > 0 for one in verdict.filters or ())
