#!/usr/bin/env bash
# Packages: nostr-sdk 0.45.1 (PyPI), LocalRelay.
#
# Guess: the relay that comes with the library, for tests and for use on one's own machine, takes what it is given.
#
# Behaviour: a connection may publish 60 events at once and then one more each second. What goes beyond gets OK false
# "rate-limited: slow down". Events that the relay has already count too, and the client of the same library neither
# waits nor raises: the refusal stands in `failed` of what send_event returns. Another connection has its own 60.
# LocalRelayBuilder.rate_limit lifts it.
# Seen (100 events sent one after the other by the library's own client, in less than a second):
#   LocalRelay()                 60 accepted and stored, 40 refused, nothing raised; another client: 60 accepted
#   one event, a hundred times   60 accepted, 40 refused
#   notes_per_minute=1000000     100 accepted
#
# Why it matters: a test that fills such a relay with more than 60 events and does not look into each result goes on
# with the first 60, and what it then says of a page, a count or a sync is about those; on a slow machine it is about
# some more, so the number changes from run to run.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1

cat > look.py <<'PY'
import asyncio
from datetime import timedelta

from nostr_sdk import (
    ClientBuilder, EventBuilder, Filter, Keys, Kind, LocalRelay, LocalRelayBuilder, RateLimit, ReqTarget, nostr_sdk
)


async def connected(url):
    client = ClientBuilder().build()
    await client.add_relay(url)
    await client.connect(timedelta(seconds=5))
    return client


def notes(count):
    keys = Keys.generate()
    return [EventBuilder(Kind(1), str(number)).finalize(keys) for number in range(count)]


async def published(client, events):
    """How many are accepted, and what is said of the others; the seconds that it takes may let some more in."""
    accepted, reasons = 0, set()
    for event in events:
        output = await client.send_event(event)
        accepted += len(output.success)
        reasons |= set(output.failed.values())
    return f"{'about 60' if 60 <= accepted <= 65 else accepted} of {len(events)} accepted {sorted(reasons)}"


async def main():
    nostr_sdk.uniffi_set_event_loop(asyncio.get_running_loop())
    relay = LocalRelay()
    await relay.run()
    url = await relay.url()
    client = await connected(url)
    print("default:", await published(client, notes(100)))
    stored = await client.fetch_events(ReqTarget.auto([Filter().kind(Kind(1))]), timedelta(seconds=5))
    print("stored:", "about 60" if 60 <= len(stored) <= 65 else len(stored))
    print("another client:", await published(await connected(url), notes(100)))
    print("one event:", await published(await connected(url), notes(1) * 100))

    wide = LocalRelayBuilder().rate_limit(RateLimit(max_reqs=500, notes_per_minute=1_000_000)).build()
    await wide.run()
    print("wide:", await published(await connected(await wide.url()), notes(100)))


asyncio.run(asyncio.wait_for(main(), 50))
PY
seen=$(env/bin/python look.py)
expected="default: about 60 of 100 accepted ['rate-limited: slow down']
stored: about 60
another client: about 60 of 100 accepted ['rate-limited: slow down']
one event: about 60 of 100 accepted ['rate-limited: slow down']
wide: 100 of 100 accepted []"
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
