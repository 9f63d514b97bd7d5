"""Settings of backups, the table `backup`."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

WITH_KEY: Final = "a snapshot of OpenSearch has the relay's own keys in it, so it must be true"
"""Why no snapshot is made without."""


class BackupOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Backups that the relay makes by itself, and where those go that operators ask it for."""

    folder: Annotated[
        str,
        Meta(
            description=(
                "Folder for them, of this relay alone: two relays in one would remove each other's. Empty: the folder"
                " backups beside store.path. Nothing is removed there but backups that were made there, see keep."
            ),
            extra={"unit": "path"},
        ),
    ] = ""
    every_seconds: Annotated[
        int,
        Meta(
            ge=0,
            description="How often one is made beside everything else, counted from the newest there is; 0: never.",
            extra={"unit": "seconds"},
        ),
    ] = 0
    keep: Annotated[
        int,
        Meta(
            ge=1,
            description="How many are kept: after each one the oldest beyond these go.",
            extra={"unit": "backups"},
        ),
    ] = 7
    with_key: Annotated[
        bool,
        Meta(
            description=(
                "Put the relay's own keys into them, too: who can read them can then sign as the relay. A snapshot of"
                " OpenSearch has them in any case, so that none is made without this."
            )
        ),
    ] = False
    repository: Annotated[
        str,
        Meta(
            pattern="^[a-z0-9_-]{0,64}$",
            description="With OpenSearch: the repository of the cluster that snapshots go to; empty: none.",
            extra={"unit": "name"},
        ),
    ] = ""
    location: Annotated[
        str,
        Meta(
            description=(
                "With OpenSearch: a folder that all nodes share and name as path.repo; the repository is made there if"
                " it does not exist. Empty: it has to exist."
            ),
            extra={"unit": "path on the nodes"},
        ),
    ] = ""
