"""How `make site` makes the pages into a site: Sphinx reads them where they lie, as a Git forge shows them.

The root of the repository is the folder of sources, so that a page has the same path on the site and links between
pages, into the code too, are those that a forge follows. Nothing is written twice for Sphinx: the lists of
docs/index.md are the tables of contents as well.
"""

from __future__ import annotations

import re
from typing import Final

from sphinx.application import Sphinx

from trio_relay.version import __version__

project = "trio-relay"
author = "the authors of trio-relay"
version = release = __version__
html_title = f"trio-relay {__version__}"

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "config/cluster/README.md",
    "docs/**.md",
    "perf/README.md",
    "tests/support/README.md",
]
exclude_patterns = [".*", "*.egg-info", "build", "data", "findings"]

myst_heading_anchors = 6  # by the names that a forge gives them
nitpicky = True
highlight_language = "none"  # a block that has a language names it

html_theme = "furo"
templates_path = ["templates"]
html_additional_pages = {"index": "to_the_first_page.html"}
html_copy_source = html_show_copyright = html_show_sphinx = html_use_index = False

CONTENTS: Final = {
    "docs/index": r"^- \[(?P<name>.+?)\]\((?P<path>.+?)\.md\)",
    "docs/decisions/README": r"^\| \[\d+\]\((?P<path>.+?)\.md\) \| (?P<name>.+?) \|",
}
"""The pages whose lists of other pages are tables of contents, each with how a line of its lists begins."""


def setup(app: Sphinx) -> None:
    """What Sphinx calls when it has read this file."""
    app.connect("source-read", add_contents)


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """What Sphinx calls with the text of each page, as a list of one, which is changed in place."""
    if page in CONTENTS:
        source[0] += "\n".join(contents(source[0], CONTENTS[page]))


def contents(text: str, line: str) -> list[str]:
    """The lines of Sphinx's tables of contents, one for each part of a page that lists others."""
    tables: list[str] = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE):
        entries = [f"{one['name']} <{one['path']}>" for one in re.finditer(line, part, re.MULTILINE)]
        if entries:
            caption = part.splitlines()[0].strip("# ")
            tables += ["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *entries, "```"]
    return tables
