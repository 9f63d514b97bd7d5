#!/usr/bin/env bash
# Packages: sdnotify 0.3.2, async-sdnotify 0.1.0.post1, cysystemd 2.0.5 (PyPI).
#
# Guess: the text of a notification to systemd is UTF-8, as sd_notify(3) asks for, in each library; and what a STATUS
# says for people has no bearing on READY=1, which stands in a line of its own.
#
# Behaviour: sdnotify encodes as Latin-1, and swallows the error of what does not fit, the whole datagram with it. One
# dash, arrow or euro sign in the status, and READY=1 of the same call is never sent. A letter such as "ü" is sent, in
# bytes that are no UTF-8. The two other libraries write UTF-8.
# Seen (what the socket at NOTIFY_SOCKET got):
#   sdnotify          "3 s", plain     READY=1 and the status
#   sdnotify          "3 s – ok"       nothing, no error
#   sdnotify          "für alle"       READY=1 and a status that is not UTF-8
#   async-sdnotify    both             UTF-8
#   cysystemd         both             UTF-8
#
# Why it matters: a service of Type=notify that says "ready" and what it serves in one message works until the name of a
# place or a relay has such a character in it. Then it starts and serves, and systemd takes it for one that never got
# ready, and ends it at TimeoutStartSec. The error shows with SystemdNotifier(debug=True) only. READY=1 should go alone.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check \
    sdnotify==0.3.2 async-sdnotify==0.1.0.post1 cysystemd==2.0.5

cat > look.py <<'PY'
import asyncio
import os
import socket

os.environ["NOTIFY_SOCKET"] = os.path.abspath("notify")
import aiosdnotify
import sdnotify
from cysystemd.daemon import Notification, notify

manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind("notify")
manager.settimeout(1)


def got():
    try:
        data = manager.recv(4096)
    except TimeoutError:
        return "nothing"
    try:
        return f"{data.decode()!a}"
    except UnicodeDecodeError:
        return f"{data!r}, not UTF-8"


async def main():
    of_asyncio = aiosdnotify.SystemdNotifier(watchdog=False)
    await of_asyncio.connect()
    for status in ("3 s", "3 s – ok", "für alle"):
        sdnotify.SystemdNotifier().notify(f"READY=1\nSTATUS={status}")
        print(f"sdnotify, {status}: {got()}")
        of_asyncio.status(status)
        await asyncio.sleep(0.1)
        print(f"async-sdnotify, {status}: {got()}")
        notify(Notification.STATUS, status)
        print(f"cysystemd, {status}: {got()}")


asyncio.run(asyncio.wait_for(main(), 30))
PY
seen=$(PYTHONUTF8=1 env/bin/python look.py)
expected='sdnotify, 3 s: '"'READY=1\nSTATUS=3 s'"'
async-sdnotify, 3 s: '"'STATUS=3 s'"'
cysystemd, 3 s: '"'STATUS=3 s'"'
sdnotify, 3 s – ok: nothing
async-sdnotify, 3 s – ok: '"'STATUS=3 s \u2013 ok'"'
cysystemd, 3 s – ok: '"'STATUS=3 s \u2013 ok'"'
sdnotify, für alle: b'"'READY=1\nSTATUS=f\xfcr alle'"', not UTF-8
async-sdnotify, für alle: '"'STATUS=f\xfcr alle'"'
cysystemd, für alle: '"'STATUS=f\xfcr alle'"
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
