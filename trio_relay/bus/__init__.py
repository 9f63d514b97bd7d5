"""What relays that share a store tell one another at once.

The bus is a hint, never the truth: what it loses is in the store, and it says that it may have lost something.
"""

from trio_relay.bus.base import Bus, BusStatistics, Gap, Heard, Note, Take

__all__ = ["Bus", "BusStatistics", "Gap", "Heard", "Note", "Take"]
