"""Connections: bytes become calls of the relay's verbs, and messages become frames."""
