"""The stores that users may choose, and how many processes serve, for tests of the whole program."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from tests.support.crew import TWO
from tests.support.program import finished

_ON_SQLITE = {"sqlite": {}, "sqlite, two workers": TWO}


@pytest.fixture(params=["sqlite", "opensearch"])
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Settings of the program for an empty store of the test's own, one of each kind."""
    return {} if request.param == "sqlite" else opensearch_settings(request, tmp_path)


@pytest.fixture(params=[*_ON_SQLITE, "opensearch"])
def serving_settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The same, and one process or several, where that could make a difference."""
    settings = _ON_SQLITE.get(request.param)
    return opensearch_settings(request, tmp_path) if settings is None else settings


@pytest.fixture(params=[{}, TWO], ids=["one process", "two workers"])
def processes(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of the program for one process that does everything, and for several."""
    settings: dict[str, str] = request.param
    return settings


@pytest.fixture
def opensearch(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """The same for OpenSearch alone."""
    return opensearch_settings(request, tmp_path)


def opensearch_settings(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """Settings for an index that `trio-relay migrate` has made; it is deleted after the test."""
    settings = {
        "store.backend": "opensearch",
        "opensearch.urls": f'["{request.getfixturevalue("node")}"]',
        "opensearch.prefix": request.getfixturevalue("prefix"),
    }
    migrated = trio.run(partial(finished, folder, "migrate", settings=settings))
    assert (migrated.returncode, migrated.stderr) == (0, b"")
    return settings
