// @welshman/net: its default policies, and with a key the one that authenticates.
import {arrived, drive, found, secret, url} from './driver.mjs'
import {defaultSocketPolicies, load, makeSocketPolicyAuth, publish, PublishStatus, pull, request} from '@welshman/net'
import {makeHttpAuth, normalizeRelayUrl, sendManagementRequest} from '@welshman/util'
import {finalizeEvent} from 'nostr-tools/pure'
import {hexToBytes} from 'nostr-tools/utils'

const relay = normalizeRelayUrl(url)
const sign = async template => finalizeEvent(template, hexToBytes(secret))
if (secret) defaultSocketPolicies.push(makeSocketPolicyAuth({sign}))

drive({
  fetch: async filter => found(await load({relays: [relay], filters: [filter]})),
  publish: async event => {
    const {[relay]: {status, detail}} = await publish({event, relays: [relay]})
    if (status !== PublishStatus.Success) throw new Error(`${status} ${detail}`)
  },
  subscribe: filter =>
    new Promise(resolve => {
      request({relays: [relay], filters: [filter], onEvent: arrived, onEose: () => resolve()})
    }),
  sync: async filter => (await pull({relays: [relay], filters: [filter], events: []})).length,
  ...(secret && {
    manage: async ([method, params]) => {
      const http = url.replace(/^ws/, 'http')
      const call = {method, params}
      const event = await sign(await makeHttpAuth(http, 'POST', JSON.stringify(call)))
      const {result, error} = await sendManagementRequest(http, call, event)
      if (error) throw new Error(error)
      return result
    },
  }),
})
