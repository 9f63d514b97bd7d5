"""The version, alone in a file so that the build can read it before anything is installed."""

__version__ = "0.2.0"
