"""A store that one process keeps for several: the keeper has the file, every other reads it and saves by the keeper."""

from trio_relay.store.kept.keeper import Keeper, Member
from trio_relay.store.kept.store import KeptStore, ask, open_kept

__all__ = ["Keeper", "KeptStore", "Member", "ask", "open_kept"]
