"""Negentropy (NIP-77): its wire format, the items that are compared, and the protocol."""
