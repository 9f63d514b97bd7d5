// nostr-relaypool: it reconnects if it is told to; challenges go to a callback.
import {arrived, drive, found, secret, url} from './driver.mjs'
import {finalizeEvent} from 'nostr-tools/pure'
import {hexToBytes} from 'nostr-tools/utils'
import {RelayPool} from 'nostr-relaypool'

const pool = new RelayPool([url], {autoReconnect: true, logErrorsAndNotices: false})
if (secret)
  pool.onauth((relay, challenge) => {
    const tags = [['relay', url], ['challenge', challenge]]
    relay.auth(finalizeEvent({kind: 22242, content: '', tags, created_at: Math.floor(Date.now() / 1000)}, hexToBytes(secret)))
  })

drive({
  fetch: filter =>
    new Promise(resolve => {
      const events = []
      pool.subscribe([filter], [url], event => events.push(event), undefined, () => resolve(found(events)), {
        unsubscribeOnEose: true,
      })
    }),
  publish: event =>
    new Promise((resolve, reject) => {
      const sent = pool.addOrGetRelay(url).publish(event)
      sent.on('ok', resolve)
      sent.on('failed', reason => reject(new Error(reason)))
    }),
  subscribe: filter =>
    new Promise(resolve => {
      pool.subscribe([filter], [url], arrived, undefined, () => resolve())
    }),
})
