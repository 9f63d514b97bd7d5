"""Policies that others write: what they are asked, and programs and functions that answer. Knows no pipeline."""
