"""Tests of what browsers are shown."""
