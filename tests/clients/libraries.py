"""The clients that are run against the relay: what they are, which version, and how their script is started."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[1]
BUILT: Final = ROOT / "build" / "clients"
"""Where `tests.clients.install` puts what they need."""


@dataclass(frozen=True, slots=True)
class Library:
    """A client library and the script that drives it.

    Attributes:
        name: of its package; with a second word in brackets where one library is used in two ways.
        language: "javascript", "python" or "go".
        script: its name in the folder of the language, without the suffix.
        package: as its registry names it.
        variant: handed to the script.
    """

    name: str
    language: str
    script: str
    package: str
    variant: str = ""

    @property
    def version(self) -> str:
        """The exact version, as the files say that the package managers read."""
        if self.language == "javascript":
            versions: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
            return versions[self.package]
        if self.language == "go":
            pattern, file = rf"{re.escape(self.package)} v(\S+)", HERE / "go.mod"
        elif self.script == "nostr-sdk":
            pattern, file = r"^nostr-sdk==(\S+)", ROOT / "constraints.txt"
        else:
            pattern, file = rf"^{re.escape(self.package)}==(\S+)", HERE / "python" / f"{self.script}.txt"
        found = re.search(pattern, file.read_text(), re.MULTILINE)
        assert found is not None, (self, file)
        return found[1]

    @property
    def command(self) -> list[str]:
        """What starts its script; the address of a relay, a secret key and the variant follow."""
        if self.language == "javascript":
            return ["node", str(BUILT / "javascript" / f"{self.script}.mjs")]
        if self.language == "go":
            return [str(BUILT / self.script)]
        python = sys.executable if self.script == "nostr-sdk" else str(BUILT / self.script / "bin" / "python")
        return [python, "-m", f"tests.clients.python.{self.script.replace('-', '_')}"]

    @property
    def needed(self) -> Path | None:
        """What is there once it is installed; None if the tests' own dependencies bring it."""
        if self.language == "javascript":
            return BUILT / "javascript" / "node_modules" / self.package
        return None if self.script == "nostr-sdk" else Path(self.command[0])


def _javascript(package: str, *, variant: str = "") -> Library:
    script = package.removeprefix("@").replace("/", "-")
    return Library(f"{package} ({variant})" if variant else package, "javascript", script, package, variant)


def _python(package: str) -> Library:
    return Library(package, "python", package, package)


LIBRARIES: Final = (
    _javascript("nostr-tools"),
    _javascript("nostr-tools", variant="onauth"),
    _javascript("@nostr-dev-kit/ndk"),
    _javascript("rx-nostr"),
    _javascript("nostr-fetch"),
    _javascript("@nostrify/nostrify"),
    _javascript("nostr-relaypool"),
    _javascript("applesauce-relay"),
    _javascript("@welshman/net"),
    _python("nostr-sdk"),
    _python("monstr"),
    _python("aionostr"),
    _python("electrum-aionostr"),
    _python("pynostr"),
    Library("go-nostr", "go", "go-nostr", "github.com/nbd-wtf/go-nostr"),
)
