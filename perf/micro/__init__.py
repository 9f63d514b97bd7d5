"""Micro-benchmarks: one part of the relay each, in this process, with realistic events; `run` does them all."""

from perf.micro.run import main, measure

__all__ = ["main", "measure"]
