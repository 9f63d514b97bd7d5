"""Policies that others write: programs and hooks."""
