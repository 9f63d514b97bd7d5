// nostr-tools: a pool, authenticating by itself (`automaticallyAuth`) or when asked (`onauth`, the variant of that name).
import {arrived, drive, found, secret, url, variant} from './driver.mjs'
import {nip77} from 'nostr-tools' // not a path of its own, unlike the others
import {SimplePool} from 'nostr-tools/pool'
import {finalizeEvent} from 'nostr-tools/pure'
import {hexToBytes} from 'nostr-tools/utils'

const sign = template => finalizeEvent(template, hexToBytes(secret))
const onauth = secret && variant === 'onauth' ? {onauth: async template => sign(template)} : {}
const pool = new SimplePool({enableReconnect: true})
if (secret && variant !== 'onauth') pool.automaticallyAuth = () => async template => sign(template)

const fetch = filter =>
  new Promise((resolve, reject) => {
    const events = []
    pool.subscribeManyEose([url], filter, {
      ...onauth,
      maxWait: 8000,
      onevent: event => events.push(event),
      onclose: ([{reason}]) => (reason.startsWith('closed automatically') ? resolve(found(events)) : reject(new Error(reason))),
    })
  })

drive({
  fetch,
  publish: event => pool.publish([url], event, onauth)[0],
  subscribe: filter =>
    new Promise(resolve => {
      pool.subscribeMany([url], filter, {...onauth, onevent: arrived, oneose: () => resolve()})
    }),
  count: async filter => (await pool.ensureRelay(url)).count([filter], {}),
  sync: async filter => {
    const relay = await pool.ensureRelay(url)
    const storage = new nip77.NegentropyStorageVector()
    storage.seal()
    const needed = []
    await new Promise((resolve, reject) => {
      const onclose = reason => (reason ? reject(new Error(reason)) : resolve())
      new nip77.NegentropySync(relay, storage, filter, {onneed: id => needed.push(id), onclose}).start()
    })
    let count = 0
    for (let at = 0; at < needed.length; at += 250) count += (await fetch({ids: needed.slice(at, at + 250)})).length
    return count
  },
})
