"""docs/clients.md says what the runs have shown, and says why of all that does not work."""

from __future__ import annotations

import json
import re

import pytest

from tests.clients.libraries import HERE, LIBRARIES, Library
from tests.clients.remarks import REMARKS, RESTARTS
from tests.clients.run import CUT
from tests.clients.table import PAGE, STEPS, expected, page
from tests.clients.visit import WITHOUT_KEY
from trio_relay.net.close_reasons import STOPPING


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(expected()), "run `python -m tests.clients.table --only-page`"


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_every_step_of_a_client_has_been_run(library: Library) -> None:
    steps = [step for step in STEPS if not (library.variant and step in WITHOUT_KEY)]
    assert list(expected()["steps"][library.name]) == steps


def test_what_does_not_work_is_explained_and_nothing_else() -> None:
    failing = {
        (name, step) for name, steps in expected()["steps"].items() for step, it in steps.items() if it == "fails"
    }
    assert set(REMARKS) == failing
    gone = {name for name, seconds in expected()["restarts"].items() if None in seconds.values()}
    assert set(RESTARTS) == gone


def test_no_close_code_brings_more_clients_back_than_the_one_that_is_sent() -> None:
    back = {
        ending: sum(seconds[ending] is not None for seconds in expected()["restarts"].values())
        for ending in next(iter(expected()["restarts"].values()))
        if ending != CUT
    }
    assert back[str(STOPPING.code)] == max(back.values())


def test_versions_are_exact_and_no_registry_is_named() -> None:
    versions = json.loads((HERE / "package.json").read_text())["dependencies"].values()
    assert [it for it in versions if not re.fullmatch(r"\d+\.\d+\.\d+", it)] == []
    for file in (HERE / "python").glob("*.txt"):
        assert [it for it in file.read_text().splitlines() if not re.fullmatch(r"[\w.-]+==[\w.]+", it)] == []
    texts = [path.read_text() for path in (HERE / "go.mod", HERE / "go.sum", HERE / "package.json")]
    assert [text for text in texts if "://" in text] == []
    assert [library.name for library in LIBRARIES if not re.fullmatch(r"\d+\.\d+\.\d+", library.version)] == []
