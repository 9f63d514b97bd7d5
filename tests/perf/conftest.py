"""Corpora and filled stores of the tests go into a folder of their own, made once for all of them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where they are."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _in_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
