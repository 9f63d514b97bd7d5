"""Fixtures of the tests of connections."""

from __future__ import annotations

import pytest

from trio_relay.net import server as server_module


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of those who connect next, in this order; after them nobody has one."""
    addresses: list[str] = []
    monkeypatch.setattr(server_module, "peer_address", lambda _stream: addresses.pop(0) if addresses else "unknown")
    return addresses
