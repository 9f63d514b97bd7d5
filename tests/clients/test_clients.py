"""What each client does with the relay is what outcomes.json says, and docs/clients.md with it.

All clients of a language run in one test, a few at a time, on relays that they share; what is asked of each is a
subtest.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from tests.clients.install import LACKS
from tests.clients.libraries import LIBRARIES, Library
from tests.clients.run import ENDINGS, run_all, run_restart
from tests.clients.table import expected, told
from tests.clients.visit import CHALLENGED, CLOSED, Outcomes

AUTHENTICATING = {
    "nostr-tools",
    "nostr-tools (onauth)",
    "@nostr-dev-kit/ndk",
    "nostr-sdk",
    "applesauce-relay",
    "@welshman/net",
    "go-nostr",
}
"""These have to, whenever the challenge comes."""
LITERAL = {"nostr-fetch", "@nostrify/nostrify", "nostr-relaypool"}
"""An EOSE of three elements is none to these."""
DEFERRING = {"@welshman/net"}
"""An EOSE after an open challenge is none to this."""


@pytest.fixture
def installed_clients() -> Sequence[Library]:
    """The clients that this machine has."""
    return [library for library in LIBRARIES if library.needed is None or library.needed.exists()]


def skip_the_rest(installed: Sequence[Library], wanted: Sequence[Library] = LIBRARIES) -> None:
    """Tell which clients have not been run, if any."""
    if missing := [library.name for library in wanted if library not in installed]:
        pytest.skip(f"{', '.join(missing)}: {LACKS}")


@pytest.mark.parametrize("languages", ["javascript", "python and go"])
def test_each_client_does_what_is_expected_of_it(
    tmp_path: Path, installed_clients: Sequence[Library], subtests: pytest.Subtests, languages: str
) -> None:
    wanted = [library for library in LIBRARIES if library.language in languages.split()]
    outcomes = trio.run(run_all, tmp_path, [library for library in wanted if library in installed_clients])
    for name, seen in outcomes.items():
        with subtests.test(f"{name} does what outcomes.json says"):
            details = {step: outcome.detail for step, outcome in seen.items() if outcome.detail}
            assert {step: told(outcome) for step, outcome in seen.items()} == expected()["steps"][name], details
    for name in (LITERAL | DEFERRING) & outcomes.keys():
        with subtests.test(f"{name} has its answers within a second"):
            assert quickest(outcomes[name]) < 1
    for name in AUTHENTICATING & outcomes.keys():
        with subtests.test(f"{name} authenticates, whenever the challenge comes"):
            steps = ["wraps", *CHALLENGED, *CLOSED]
            assert {step: outcomes[name][step].works for step in steps} == dict.fromkeys(steps, True)
    if "applesauce-relay" in outcomes:
        with subtests.test("a sync of applesauce brings everything"):
            assert outcomes["applesauce-relay"]["sync"].works
    if "@nostr-dev-kit/ndk" in outcomes:
        with subtests.test("the idle probe of NDK is answered"):
            assert outcomes["@nostr-dev-kit/ndk"]["idle probe"].works
    skip_the_rest(installed_clients, wanted)


def quickest(seen: Outcomes) -> float:
    """Seconds of the quickest answer to a query; a busy machine can make one of them slow, a missing EOSE all."""
    queries = [seen[step] for step in ("by id", "by author", "by tag", "no such kind")]
    assert all(outcome.works for outcome in queries)
    return min(outcome.seconds for outcome in queries)


def test_clients_come_back_after_a_restart_or_not_as_expected(
    tmp_path: Path, installed_clients: Sequence[Library], subtests: pytest.Subtests
) -> None:
    seen: dict[str, dict[str, float | None]] = {}

    async def run_one(ending: str) -> None:
        seen[ending] = await run_restart(tmp_path / ending, ending, installed_clients)

    async def run_each() -> None:
        async with trio.open_nursery() as nursery:
            for ending in ENDINGS:
                nursery.start_soon(run_one, ending)

    trio.run(run_each)
    names = {library.name for library in installed_clients}
    known = {name: seconds for name, seconds in expected()["restarts"].items() if name in names}
    for ending in ENDINGS:
        with subtests.test(ending):
            comes_back = {name: seconds is not None for name, seconds in seen[ending].items()}
            assert comes_back == {name: seconds[ending] is not None for name, seconds in known.items()}
    skip_the_rest(installed_clients)
