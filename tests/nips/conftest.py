"""Each NIP's tests run once for every store."""

from tests.contract.conftest import backend, haste, store

__all__ = ["backend", "haste", "store"]
