"""A place for the file of a store."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a store may make its file; nothing is there yet, nor is the folder."""
    return tmp_path / "data" / "relay.db"
