"""The version, alone in a file so that the build can read it before anything is installed; and how this was built."""

from typing import Final

__version__: Final = "0.2.0"

IS_COMPILED: Final = not __file__.endswith(".py")
"""True where the hot path was compiled at installation: this module is part of it, and all are compiled or none."""

CODE: Final = "compiled" if IS_COMPILED else "interpreted"
"""The same in the word that the banner, the metrics and `--version` have for it."""
