"""Measurements, run by hand; README.md tells what they measure and how, and has what they said."""
