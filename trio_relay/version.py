"""The version, alone in a file so that the build can read it before anything is installed; and how this was built."""

from typing import Final

__version__: Final = "1.0.0rc1"

CODE: Final = "interpreted" if __file__.endswith(".py") else "compiled"
"""How the hot path runs: this module is part of it, and all of it is compiled or none."""
