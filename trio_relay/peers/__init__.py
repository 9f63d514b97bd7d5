"""The relay as a client of other relays: one connection, and what is brought over it in both directions."""
