// rx-nostr: with a key its authenticator signs by itself.
import {arrived, drive, found, secret, url} from './driver.mjs'
import {seckeySigner, verifier} from '@rx-nostr/crypto'
import {createRxBackwardReq, createRxForwardReq, createRxNostr} from 'rx-nostr'
import WebSocket from 'ws'

const authenticator = secret ? {signer: seckeySigner(secret)} : undefined
const rxNostr = createRxNostr({verifier, authenticator, websocketCtor: WebSocket})
rxNostr.setDefaultRelays([url])

drive({
  fetch: filter =>
    new Promise((resolve, reject) => {
      const request = createRxBackwardReq()
      const events = []
      const refused = rxNostr.createAllMessageObservable().subscribe(message => {
        if (message.type === 'CLOSED' && !message.notice.startsWith('auth-required:')) reject(new Error(message.notice))
      })
      rxNostr.use(request).subscribe({
        next: ({event}) => events.push(event),
        error: reject,
        complete: () => (refused.unsubscribe(), resolve(found(events))),
      })
      request.emit(filter)
      request.over()
    }),
  publish: event =>
    new Promise((resolve, reject) => {
      rxNostr.send(event, {errorOnTimeout: true}).subscribe({
        next: ({done, ok, notice}) => done && (ok ? resolve() : reject(new Error(notice))),
        error: reject,
        complete: resolve,
      })
    }),
  subscribe: async filter => {
    const request = createRxForwardReq()
    rxNostr.use(request).subscribe(({event}) => arrived(event))
    request.emit(filter)
    await new Promise(resolve => setTimeout(resolve, 1000)) // it tells of no EOSE
  },
})
