// NDK: with a key it has a signer and the policy `signIn`, without one neither.
import {arrived, drive, found, secret, url} from './driver.mjs'
import {NDKSync} from '@nostr-dev-kit/sync'
import NDK, {NDKEvent, NDKPrivateKeySigner, NDKRelayAuthPolicies, NDKRelaySet, NDKSubscriptionCacheUsage} from '@nostr-dev-kit/ndk'

const signer = secret ? new NDKPrivateKeySigner(secret) : undefined
const ndk = new NDK({explicitRelayUrls: [url], signer, enableOutboxModel: false})
if (signer) ndk.relayAuthDefaultPolicy = NDKRelayAuthPolicies.signIn({ndk, signer})
await ndk.connect(5000)
const relays = NDKRelaySet.fromRelayUrls([url], ndk)
const options = {cacheUsage: NDKSubscriptionCacheUsage.ONLY_RELAY, groupable: false}

// Not fetchEvents, which never ends if the relay says CLOSED.
const fetch = filter =>
  new Promise((resolve, reject) => {
    const events = new Map()
    ndk.subscribe(filter, {
      ...options,
      closeOnEose: true,
      relaySet: relays,
      onEvent: event => events.set(event.id, event),
      onEose: () => resolve(found(events.values())),
      onClosed: (_, reason) => reject(new Error(reason)),
    }).on('closed', (_, reason) => reject(new Error(reason)))
  })

drive({
  fetch,
  publish: async event => {
    await new NDKEvent(ndk, event).publish(relays, 8000)
  },
  subscribe: filter =>
    new Promise(resolve => {
      ndk.subscribe(filter, {...options, closeOnEose: false, relaySet: relays, onEvent: arrived, onEose: () => resolve()})
    }),
  // What it does by itself after 120 seconds in which nothing has come.
  probe: async () => {
    const relay = ndk.pool.getRelay(url)
    let dead = false
    relay.on('disconnect', () => (dead = true))
    await relay.connectivity.keepalive.onSilenceDetected()
    if (dead) throw new Error('it took the connection for dead')
  },
  // It wants a cache, and to be without one in all else.
  sync: async filter => {
    const empty = {locking: false, query: async () => [], setEvent: async () => {}}
    const caching = new NDK({explicitRelayUrls: [url], cacheAdapter: empty, enableOutboxModel: false})
    await caching.connect(5000)
    let lost
    const {events} = await NDKSync.sync(caching, filter, {onRelayError: (_, error) => (lost = error)})
    if (lost) throw lost
    return events.length
  },
  count: async filter => (await ndk.count(filter, {}, relays)).count,
})
