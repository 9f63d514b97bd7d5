#!/usr/bin/env python3
"""A plugin for requests: direct messages are for members, and everybody else sees notes alone."""

import json
import sys

for line in sys.stdin:
    question = json.loads(line)
    if question["type"] != "req":
        continue
    answer = {"id": question["id"], "action": "accept"}
    if "authed" not in question:
        if any(4 in filter_.get("kinds", []) for filter_ in question["filters"]):
            answer |= {"action": "reject", "msg": "auth-required: for members"}
        else:
            answer["filters"] = [filter_ | {"kinds": [1]} for filter_ in question["filters"]]
    print(json.dumps(answer), flush=True)
