// The part that all scripts share: it reads commands, one JSON object a line, lets the library carry them out, and
// answers each with one JSON line, in whatever order they are done. See tests/clients/driver.py for the other end.
import {createInterface} from 'node:readline'
import WebSocket from 'ws'

globalThis.WebSocket ??= WebSocket // Node 20 has none; scripts import this file before their library
console.log = console.info = console.debug = console.warn = console.group = console.table = console.error

/** The relay, and the secret key in hex that authenticates; empty for a client without a key. */
export const [url, secret, variant] = process.argv.slice(2)

const say = line => process.stdout.write(JSON.stringify(line) + '\n')

/** What the scenario needs to know of an event that was found. */
export const found = events => [...events].map(event => ({id: event.id, tags: event.tags.length}))

/** Tell that a subscription has brought an event. */
export const arrived = event => say({arrived: event.id})

/** Carry out commands until there are no more; what is no method of `client` is answered with `lacks`. */
export function drive(client) {
  process.on('unhandledRejection', error => console.error('unhandled', error))
  createInterface({input: process.stdin})
    .on('line', async line => {
      const {number, does, argument} = JSON.parse(line)
      if (!(does in client)) return say({number, lacks: true})
      try {
        say({number, value: (await client[does](argument)) ?? null})
      } catch (error) {
        say({number, failed: String(error?.message ?? error)})
      }
    })
    .on('close', () => process.exit(0))
}
