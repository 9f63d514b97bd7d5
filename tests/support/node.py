"""A real OpenSearch for tests: which one, and names on it that are a test's own."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from perf.node import missing, running

GIVEN = "TRIO_RELAY_TEST_OPENSEARCH"
"""Names the address of a node that is there already, for the tests that need but one and leave it alive."""


def need(version: str) -> None:
    """Skip the test, with the reason, where this version cannot run."""
    if (reason := missing(version)) is not None:
        pytest.skip(reason)


@contextmanager
def one_for_all(version: str, folder: Path) -> Iterator[str]:
    """The address of a node that many tests share."""
    need(version)
    with running(version, folder) as node:
        yield node.url


@contextmanager
def given_or_own(version: str, folder: Path) -> Iterator[str]:
    """The address of the node that the environment names, or else of one for many tests."""
    if given := os.environ.get(GIVEN):
        yield given
    else:
        with one_for_all(version, folder) as url:
            yield url


@contextmanager
def own_names(url: str) -> Iterator[str]:
    """What the names of a test's indices, aliases and templates are to start with; in the end all those are deleted."""
    prefix = f"test-{uuid.uuid4().hex}"
    try:
        yield prefix
    finally:
        with httpx.Client(base_url=url, timeout=30.0) as http:
            for kind in ("", "_index_template/", "_component_template/"):
                answer = http.delete(f"/{kind}{prefix}*")
                assert answer.status_code in (200, 404), answer.text
