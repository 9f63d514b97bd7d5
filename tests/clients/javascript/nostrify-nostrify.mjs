// @nostrify/nostrify: one relay, NRelay1; with a key it answers challenges.
import {arrived, drive, found, secret, url} from './driver.mjs'
import {NRelay1, NSecSigner} from '@nostrify/nostrify'
import {hexToBytes} from 'nostr-tools/utils'

const signer = secret && new NSecSigner(hexToBytes(secret))
const auth = challenge =>
  signer.signEvent({
    kind: 22242,
    content: '',
    tags: [['relay', url], ['challenge', challenge]],
    created_at: Math.floor(Date.now() / 1000),
  })
const relay = new NRelay1(url, signer ? {auth} : {})

drive({
  fetch: async filter => found(await relay.query([filter])),
  publish: event => relay.event(event),
  subscribe: filter =>
    new Promise(async resolve => {
      for await (const message of relay.req([filter])) {
        if (message[0] === 'EVENT') arrived(message[2])
        if (message[0] === 'EOSE') resolve()
      }
    }),
  count: async filter => (await relay.count([filter])).count,
})
