"""Stores: where events are kept, and the promises that every backend keeps (see `base`)."""
