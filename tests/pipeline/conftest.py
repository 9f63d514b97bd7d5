"""What tests of the pipeline share: how often filters are asked."""

from __future__ import annotations

import pytest

from trio_relay import Event, Filter


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Filter]:
    """The filters that were asked whether they match an event, in their order, each as often as it was."""
    noted: list[Filter] = []
    matches = Filter.matches

    def noting(self: Filter, event: Event, carried: dict[str, set[str]] | None = None) -> bool:
        noted.append(self)
        return matches(self, event, carried)

    monkeypatch.setattr(Filter, "matches", noting)
    return noted
