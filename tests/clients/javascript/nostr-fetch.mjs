// nostr-fetch: it only reads what is stored, and it has no way to authenticate.
import {drive, found, secret, url} from './driver.mjs'
import {NostrFetcher} from 'nostr-fetch'

const fetcher = NostrFetcher.init()

drive(secret ? {} : {fetch: async filter => found(await fetcher.fetchLatestEvents([url], filter, 100))})
