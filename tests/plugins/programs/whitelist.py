#!/usr/bin/env python3
"""A write policy plugin: only authors whose keys are arguments may write."""

import json
import sys

for line in sys.stdin:
    question = json.loads(line)
    if question["type"] != "new":
        print("unexpected type", file=sys.stderr)
        continue
    event = question["event"]
    answer = {"id": event["id"], "action": "accept"}
    if event["pubkey"] not in sys.argv[1:]:
        answer |= {"action": "reject", "msg": "blocked: not on the white list"}
    print(json.dumps(answer), flush=True)
