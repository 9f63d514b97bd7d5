// applesauce-relay: with a key it authenticates when a challenge comes.
import {arrived, drive, found, secret, url} from './driver.mjs'
import {Relay, RelayManagement} from 'applesauce-relay'
import {finalizeEvent} from 'nostr-tools/pure'
import {hexToBytes} from 'nostr-tools/utils'
import {lastValueFrom} from 'rxjs'
import {toArray} from 'rxjs/operators'

const signer = {signEvent: template => finalizeEvent(template, hexToBytes(secret))}
const relay = new Relay(url)
if (secret) relay.challenge$.subscribe(challenge => challenge && relay.authenticate(signer))

drive({
  fetch: async filter => found(await lastValueFrom(relay.request(filter).pipe(toArray()))),
  publish: async event => {
    const {ok, message} = await relay.publish(event)
    if (!ok) throw new Error(message)
  },
  subscribe: async filter => {
    relay.subscription(filter).subscribe({next: arrived, error: console.error})
    await new Promise(resolve => setTimeout(resolve, 1000)) // it tells of no EOSE
  },
  count: async filter => (await lastValueFrom(relay.count(filter))).count,
  sync: async filter => (await lastValueFrom(relay.sync([], filter).pipe(toArray()))).length,
  ...(secret && {manage: ([method, params]) => new RelayManagement(relay, signer).request(method, params)}),
})
