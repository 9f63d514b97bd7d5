#!/usr/bin/env bash
# Packages: @nostr-dev-kit/sync 1.0.0 with @nostr-dev-kit/ndk 3.0.3 (npm), nostr-sdk 0.45.1 (PyPI, the relay).
#
# Guess: a package for NIP-77 syncs with a relay that speaks NIP-77. If a sync fails, it says so, or falls back to REQ.
#
# Behaviour: where NIP-77 has one filter, it sends a list of them, `["NEG-OPEN", id, [{…}], hex]`, even for one filter.
# A relay that goes by the text refuses that. The package takes the refusal for a relay that is silent, waits five
# seconds, and then gives back an empty result as if there were nothing: no exception, no event. Only the next sync of
# the same relay asks with REQ, as the failure is remembered for an hour.
# Seen (three notes in the relay, none in the client):
#   by hand, one filter      NEG-MSG
#   by hand, a list of one   NOTICE "invalid client message"
#   first NDKSync.sync       sends the list; 0 events, 0 needed, nothing thrown, onRelayError "Sync session timeout"
#   second NDKSync.sync      sends a REQ; 3 events
#
# Why it matters: to the program a relay with events looks like an empty one, once an hour. A relay that lists 77 gets
# such lists from real clients: one that answers NEG-ERR at once spares them the five seconds, and one that takes a list
# for its one filter spares them the failure.
set -euo pipefail
work=$(mktemp -d)
trap 'kill "${relay:-}" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv env
env/bin/pip install --quiet --disable-pip-version-check nostr-sdk==0.45.1
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts \
    @nostr-dev-kit/sync@1.0.0 @nostr-dev-kit/ndk@3.0.3 nostr-tools@2.25.2 ws@8.18.3

cat > relay.py <<'PY'
import asyncio
from datetime import timedelta

from nostr_sdk import ClientBuilder, EventBuilder, Keys, Kind, LocalRelay


async def main():
    relay, client = LocalRelay(), ClientBuilder().build()
    await relay.run()
    await client.add_relay(await relay.url())
    await client.connect(timedelta(seconds=5))
    for number in range(3):
        await client.send_event(EventBuilder(Kind(1), str(number)).finalize(Keys.generate()))
    print(await relay.url(), flush=True)
    await asyncio.sleep(120)


asyncio.run(main())
PY
cat > look.mjs <<'JS'
import NDK from '@nostr-dev-kit/ndk'
import {NDKSync} from '@nostr-dev-kit/sync'
import WebSocket from 'ws'

globalThis.WebSocket ??= WebSocket
const url = process.argv[2], filter = {kinds: [1]}

async function answer(source) {
  const socket = new WebSocket(url)
  await new Promise(resolve => socket.on('open', resolve))
  const got = new Promise(resolve => socket.on('message', data => resolve(JSON.parse(data))))
  socket.send(JSON.stringify(['NEG-OPEN', 'x', source, '6100000200']))
  const [verb, text] = await got
  socket.close()
  return verb === 'NOTICE' ? `${verb} ${text}` : verb
}
console.log('by hand, one filter:', await answer(filter))
console.log('by hand, a list of one:', await answer([filter]))

const known = {sync: {supportsNegentropy: true, lastChecked: Date.now()}}  // as after a look at the NIP-11 document
const cacheAdapter = {
  locking: false, query: async () => [], setEvent: async () => {},
  getRelayStatus: async () => ({metadata: known}),
  updateRelayStatus: async (_, {metadata}) => Object.assign(known, metadata),
}
const ndk = new NDK({explicitRelayUrls: [url], cacheAdapter})
await ndk.connect(5000)
const {connectivity} = [...ndk.pool.relays.values()][0], send = connectivity.send.bind(connectivity)
connectivity.send = text => {
  const message = JSON.parse(text)
  if (/NEG-OPEN|REQ/.test(message[0])) console.log('  sends', message[0], JSON.stringify(message[2]))
  return send(text)
}
console.error = () => {}
for (const time of ['first', 'second']) {
  const failed = []
  const {events, need} = await NDKSync.sync(ndk, filter, {onRelayError: (_, error) => failed.push(error.message.split(': ').at(-1))})
  console.log(time, 'sync:', events.length, 'events,', need.size, 'needed, errors', JSON.stringify(failed))
}
process.exit(0)
JS
env/bin/python relay.py > url &
relay=$!
for _ in $(seq 100); do [ -s url ] && break; sleep 0.1; done
seen=$(timeout 60 node look.mjs "$(cat url)")
printf '%s\n' "$seen"
expected='by hand, one filter: NEG-MSG
by hand, a list of one: NOTICE invalid client message
  sends NEG-OPEN [{"kinds":[1]}]
first sync: 0 events, 0 needed, errors ["Sync session timeout"]
  sends REQ {"kinds":[1]}
second sync: 3 events, 0 needed, errors []'
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
