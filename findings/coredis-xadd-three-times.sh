#!/usr/bin/env bash
# Packages: coredis 6.9.0 (PyPI); Python 3.11 and redis-server (6.2 or newer, in the path).
#
# Guess: a call of XADD that raises a time-out has been carried out once, or not at all; whoever makes it again must
# expect two entries. A library may try again to connect, but not send a command again that adds something.
#
# Behaviour: the one call that raised leaves three entries. A time-out is among the errors after which a client tries
# again, twice, unless it is made with another `retry_policy`; each try goes over the same connection, so a server that
# was only slow carries out all of them. With `NoRetryPolicy()` it is one.
# Seen:
#   as it comes      TimeoutError, then 3 entries
#   NoRetryPolicy    TimeoutError, then 1 entries
#
# Why it matters: a relay that tells others of an event by a stream tells them three times whenever Redis pauses for
# longer than the time-out; what is told needs a number by which a repeat is known.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv env
env/bin/pip install --quiet --disable-pip-version-check coredis==6.9.0 trio==0.35.0

cat > look.py <<'PY'
import signal
import subprocess
import sys

import coredis
import trio
from coredis.retry import NoRetryPolicy

SOCKET = sys.argv[1]


async def ready():
    while True:
        try:
            async with coredis.Redis(unix_socket_path=SOCKET) as client:
                return await client.ping()
        except Exception:
            await trio.sleep(0.05)


async def look(server, name, **options):
    async with coredis.Redis(unix_socket_path=SOCKET, stream_timeout=0.5, **options) as client:
        await client.delete(["stream"])
        server.send_signal(signal.SIGSTOP)
        try:
            await client.xadd("stream", {"what": "once"})
        except TimeoutError as error:
            said = type(error).__name__
        else:
            said = "no error"
        finally:
            server.send_signal(signal.SIGCONT)
        await trio.sleep(0.5)
        print(f"{name:17}{said}, then {await client.xlen('stream')} entries")


async def main(server):
    with trio.fail_after(20):
        await ready()
        await look(server, "as it comes")
        await look(server, "NoRetryPolicy", retry_policy=NoRetryPolicy())


command = ["redis-server", "--port", "0", "--unixsocket", SOCKET, "--save", "", "--appendonly", "no"]
with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
    try:
        trio.run(main, server)
    finally:
        server.kill()
PY
env/bin/python look.py "$work/socket" 2> log.txt | tee said.txt || { cat log.txt; exit 1; }
grep -qx "as it comes      TimeoutError, then 3 entries" said.txt
grep -qx "NoRetryPolicy    TimeoutError, then 1 entries" said.txt
