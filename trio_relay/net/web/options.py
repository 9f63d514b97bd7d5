"""Settings of the table `web`: what browsers are shown."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class WebOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What browsers are shown: the front page, pages of events, and the console."""

    enabled: Annotated[
        bool, Meta(description="Show pages to browsers; if false, they get one line of text, and there is no console.")
    ] = True
    admin: Annotated[
        bool,
        Meta(
            description=(
                "Open the console, /admin, although nobody is named in policy.admins or relay.pubkey: for who logs in"
                " by the link that `trio-relay admin-link` prints. Where there are admins it is open anyway."
            )
        ),
    ] = False
    session_seconds: Annotated[
        int,
        Meta(
            ge=60,
            le=2_592_000,
            description="How long who has logged in to the console stays so, at most; a restart ends it, too.",
            extra={"unit": "seconds"},
        ),
    ] = 43_200
    templates: Annotated[
        str,
        Meta(
            description=(
                "Folder with templates and style sheets of your own, which take the place of those of the same name:"
                " docs/web.md lists them. Read at the start."
            ),
            extra={"unit": "path"},
        ),
    ] = ""
    icon: Annotated[
        str,
        Meta(
            description=(
                "File with the relay's picture for its pages, and for relay.icon where that is empty: png, jpg, webp,"
                " gif or svg. Pictures elsewhere are not shown: a visit tells nobody else."
            ),
            extra={"unit": "path"},
        ),
    ] = ""
    banner: Annotated[
        str,
        Meta(
            description="File with a wide picture for the front page, and for relay.banner where that is empty.",
            extra={"unit": "path"},
        ),
    ] = ""
    notes: Annotated[
        int,
        Meta(
            ge=0,
            le=50,
            description="Newest public notes (kind 1) that the front page shows.",
            extra={"unit": "notes"},
        ),
    ] = 0
    noindex: Annotated[bool, Meta(description="Ask search engines to leave all pages out.")] = False
