"""A write policy that lets everything in, by strfry's protocol; the weather ends it, or holds it."""

from __future__ import annotations

import json
import sys


def main() -> None:
    """Answer each line until there are no more."""
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps({"id": asked["event"]["id"], "action": "accept", "msg": ""}), flush=True)


if __name__ == "__main__":
    main()
