#!/usr/bin/env bash
# Packages: nostr-tools 2.25.2, @welshman/net and @welshman/lib 0.8.15, ws 8.18.0 (npm), go-nostr 0.52.3 (Go module).
#
# Guess: a library that connects again by itself (nostr-tools does with enableReconnect), and moves `since` so as not to
# load its history twice, does so once EOSE has come. If the relay goes in the middle of the stored events, the same REQ
# is sent again.
#
# Behaviour: none of the three looks whether EOSE has come. Relays send the newest first, so "since the newest seen"
# (nostr-tools), "since now" (go-nostr), and "since now, if the connection lasted less than five seconds" (welshman) all
# leave the rest out. The relay answers with EOSE, and the program is told that it has all.
# Seen (six stored events; the relay sends two and closes with 1012, then answers whatever it is asked):
#   nostr-tools                 2 events, then EOSE, second REQ since the newest plus one second
#   go-nostr                    2 events, then EOSE, second REQ since now
#   welshman, lost after 0.5 s  2 events, then EOSE, second REQ since now
#   welshman, lost after 6 s    6 events, then EOSE, second REQ without since
#
# Why it matters: a follow list or a feed with a hole looks complete, and is complete again only when the program starts
# anew. A relay that restarts should finish the answers that it has begun before it closes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GOMODCACHE="$work/modules" GOFLAGS=-modcacherw
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps \
    nostr-tools@2.25.2 @welshman/net@0.8.15 @welshman/lib@0.8.15 @welshman/util@0.8.15 @noble/curves@1.9.7 ws@8.18.0
go mod init look 2>/dev/null
go get github.com/nbd-wtf/go-nostr@v0.52.3 2>/dev/null

cat > look.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/nbd-wtf/go-nostr"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	end := make(chan struct{})
	filter := nostr.Filter{Kinds: []int{1}}
	events := nostr.NewSimplePool(ctx).SubscribeManyNotifyEOSE(ctx, os.Args[1:], filter, end)
	for count := 0; ; {
		select {
		case <-events:
			count++
		case <-end:
			fmt.Printf("%d events, then EOSE", count)
			return
		case <-ctx.Done():
			fmt.Printf("%d events, no EOSE", count)
			return
		}
	}
}
GO
go build -o look-go look.go

cat > look.mjs <<'JS'
import {execFile} from 'node:child_process'
import {promisify} from 'node:util'
import WebSocket, {WebSocketServer} from 'ws'
import {finalizeEvent, generateSecretKey} from 'nostr-tools/pure'
import {Relay} from 'nostr-tools/relay'
import {request} from '@welshman/net'
globalThis.WebSocket ??= WebSocket

setTimeout(() => process.exit(2), 50000)
const pause = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds))
const newest = 1700000000
const key = generateSecretKey()
const shelf = [0, 1, 2, 3, 4, 5].map(age => finalizeEvent(
  {kind: 1, created_at: newest - age, tags: [], content: String(age)}, key))

const relay = async lasts => {
  const server = new WebSocketServer({host: '127.0.0.1', port: 0})
  await new Promise(resolve => server.on('listening', resolve))
  const since = []
  server.on('connection', socket => socket.on('message', data => {
    const [word, id, filter] = JSON.parse(data)
    if (word !== 'REQ') return
    const found = shelf.filter(event => event.created_at >= (filter.since ?? 0))
    const first = since.push(filter.since) === 1
    for (const event of first ? found.slice(0, 2) : found) socket.send(JSON.stringify(['EVENT', id, event]))
    if (first) setTimeout(() => socket.close(1012), lasts)
    else socket.send(JSON.stringify(['EOSE', id]))
  }))
  return {url: `ws://127.0.0.1:${server.address().port}`, since}
}
const named = since => since === undefined ? 'without since' : since === newest + 1 ? 'since the newest plus one second'
  : Math.abs(since - Date.now() / 1000) < 60 ? 'since now' : `since ${since}`

const clients = {
  'nostr-tools': async url => {
    const client = new Relay(url, {enableReconnect: true})
    await client.connect()
    let count = 0, end
    const over = new Promise(resolve => { end = resolve })
    client.subscribe([{kinds: [1]}], {eoseTimeout: 30000, onevent: () => count++, oneose: () => end('then EOSE')})
    return `${await over && count} events, ${await over}`
  },
  'go-nostr': async url => (await promisify(execFile)('./look-go', [url])).stdout,
  welshman: url => new Promise(resolve => {
    let count = 0
    request({relays: [url], filters: [{kinds: [1]}], onEvent: () => count++,
      onEose: () => resolve(`${count} events, then EOSE`)})
  }),
}
const look = async (name, lasts) => {
  const {url, since} = await relay(lasts)
  const end = await Promise.race([clients[name](url), pause(30000).then(() => 'no EOSE')])
  return `${name}, lost after ${lasts / 1000} s: ${end}, ${since.length} REQs, the last ${named(since.at(-1))}`
}
console.log((await Promise.all([
  look('nostr-tools', 500), look('go-nostr', 500), look('welshman', 500), look('welshman', 6000)])).join('\n'))
process.exit(0)
JS
seen=$(node look.mjs)
expected='nostr-tools, lost after 0.5 s: 2 events, then EOSE, 2 REQs, the last since the newest plus one second
go-nostr, lost after 0.5 s: 2 events, then EOSE, 2 REQs, the last since now
welshman, lost after 0.5 s: 2 events, then EOSE, 2 REQs, the last since now
welshman, lost after 6 s: 6 events, then EOSE, 2 REQs, the last without since'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
