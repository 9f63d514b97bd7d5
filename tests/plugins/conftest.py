"""Fixtures of the tests of plugins and hooks."""

from tests.net.conftest import peers

__all__ = ["peers"]
