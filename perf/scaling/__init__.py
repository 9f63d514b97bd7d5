"""Latency and load drawn against machines: `python -m perf scaling`; docs/scaling.md has the plans that follow."""
