"""Writes docs/clients.md from a run of all clients: `python -m tests.clients.table`; without one with `--only-page`.

What is expected of each client stands in outcomes.json beside this file; the tests compare a run with it, and the page
with what it and `tests.clients.remarks` say.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from tests.clients.libraries import HERE, LIBRARIES, ROOT, Library
from tests.clients.remarks import BESIDES, COLUMNS, REMARKS, RESTARTS
from tests.clients.run import ENDINGS, run_all, run_restart
from tests.clients.visit import CHALLENGED, CLOSED, WITH_KEY, WITHOUT_KEY, Outcome

PAGE: Final = ROOT / "docs" / "clients.md"
OUTCOMES: Final = HERE / "outcomes.json"
STEPS: Final = (*WITHOUT_KEY, *WITH_KEY, *CHALLENGED, *CLOSED)
_LISTS_AND_SETS: Final = ("list", "set")

Told = str | int | None
"""Of a step: works, fails or lacks; the size of the largest list."""


def told(outcome: Outcome) -> Told:
    """What is kept of an outcome."""
    if outcome.works is None:
        return "lacks"
    if outcome.size is not None:
        return outcome.size
    return "works" if outcome.works else "fails"


def expected() -> dict[str, Any]:
    """What each client is known to do: `steps` and `restarts` by client."""
    kept: dict[str, Any] = json.loads(OUTCOMES.read_text(encoding="utf-8"))
    return kept


def page(kept: Mapping[str, Any]) -> str:
    """The text of docs/clients.md."""
    text = (HERE / "clients.md.in").read_text(encoding="utf-8")
    tables = {
        "VERSIONS": _versions(),
        "STEPS": _steps(kept["steps"]),
        "LISTS": _lists(kept["steps"]),
        "RESTARTS": _restarts(kept["restarts"]),
        "REMARKS": _remarks(kept),
        "BESIDES": "\n".join(f"- {sentence}" for sentence in BESIDES),
    }
    for name, table in tables.items():
        text = text.replace(f"<!-- {name} -->", table)
    return text


def _rows(head: list[str], rows: Iterator[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _versions() -> str:
    registries = {"javascript": "npm", "python": "PyPI", "go": "Go"}
    rows = ([it.package, registries[it.language], it.version] for it in LIBRARIES if not it.variant)
    return _rows(["client", "from", "version"], rows)


def _steps(steps: Mapping[str, Mapping[str, Told]]) -> str:
    signs = {"works": "yes", "fails": "**no**", "lacks": "", None: ""}
    shown = [step for step in STEPS if step not in _LISTS_AND_SETS]

    def row(library: Library) -> list[str]:
        return [library.name, *(signs[steps[library.name].get(step)] for step in shown)]  # type: ignore[index]

    return _rows(["client", *(COLUMNS.get(step, step) for step in shown)], map(row, LIBRARIES))


def _lists(steps: Mapping[str, Mapping[str, Told]]) -> str:
    rows = (
        [library.name, *(f"{steps[library.name][it]:,}" for it in _LISTS_AND_SETS)]
        for library in LIBRARIES
        if not library.variant
    )
    return _rows(["client", "follow list (kind 3)", "follow set (kind 30000)"], rows)


def _restarts(restarts: Mapping[str, Mapping[str, float | None]]) -> str:
    def cell(seconds: float | None) -> str:
        return "never" if seconds is None else f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"

    rows = ([name, *(cell(seconds[ending]) for ending in ENDINGS)] for name, seconds in restarts.items())
    return _rows(["client", *(f"close {it}" if it.isdigit() else "cut" for it in ENDINGS)], rows)


def _remarks(kept: Mapping[str, Any]) -> str:
    lines = []
    for library in LIBRARIES:
        named = {step: sentence for (name, step), sentence in REMARKS.items() if name == library.name}
        named |= {"restart": RESTARTS[library.name]} if library.name in RESTARTS else {}
        for sentence in dict.fromkeys(named.values()):
            steps = ", ".join(step for step, said in named.items() if said == sentence)
            lines.append(f"- **{library.name}**, {steps}: {sentence}")
    return "\n".join(lines)


async def measure(folder: Path) -> dict[str, Any]:
    """Run everything."""
    steps = await run_all(folder)
    restarts: dict[str, dict[str, float | None]] = {}
    for ending in ENDINGS:
        for name, seconds in (await run_restart(folder / ending, ending)).items():
            restarts.setdefault(name, {})[ending] = None if seconds is None else round(seconds, 1)
    return {
        "steps": {name: {step: told(it) for step, it in outcomes.items()} for name, outcomes in steps.items()},
        "restarts": restarts,
    }


def main() -> None:
    """Measure, unless told not to, and write the page."""
    if "--only-page" not in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            kept = trio.run(partial(measure, Path(folder)))
        OUTCOMES.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    PAGE.write_text(page(expected()), encoding="utf-8")


if __name__ == "__main__":
    main()
