"""Measurements: run by hand, one file a question; README.md has what they said."""
