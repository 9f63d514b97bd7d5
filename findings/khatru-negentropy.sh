#!/usr/bin/env bash
# Packages: github.com/fiatjaf/khatru v0.19.1, github.com/fiatjaf/eventstore v0.16.2, and github.com/nbd-wtf/go-nostr
# v0.51.8, for which both ask, and v0.52.3 (Go modules).
#
# Guess: a relay whose switch `Negentropy` is on answers NEG-OPEN (NIP-77) with NEG-MSG, as its NIP-11 document says.
#
# Behaviour: the document lists 77, and each NEG-OPEN is answered by a NOTICE that the envelope could not be parsed.
# ParseNegMessage of this go-nostr takes all that stands before the first comma for the label, bracket and quotes
# included, so it knows no message of the wire, not even what the same package has just written. Newer releases of
# go-nostr read it, but Go takes the lowest version that the modules ask for: only a program that names a newer one in
# its own go.mod has NIP-77.
# Seen (each message written by go-nostr's own types; EVENT and REQ are answered well by both):
#   go-nostr v0.51.8   NIP-11 lists 77, NEG-OPEN -> NOTICE "failed to parse envelope: unknown envelope label"
#   go-nostr v0.52.3   NIP-11 lists 77, NEG-OPEN -> NEG-MSG
#
# Why it matters: a relay that switches it on and names no newer go-nostr announces what it cannot do, and the NOTICE
# names no subscription. A client that waits for NEG-MSG or NEG-ERR waits for good; one that syncs with such relays has
# to take a NOTICE in place of the first answer for a no, and to page by time instead.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GOMODCACHE="$work/modules" GOFLAGS=-modcacherw
go mod init look 2>/dev/null

cat > look.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/fiatjaf/eventstore/slicestore"
	"github.com/fiatjaf/khatru"
	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip11"
	"github.com/nbd-wtf/go-nostr/nip77"
	"github.com/nbd-wtf/go-nostr/nip77/negentropy"
	"github.com/nbd-wtf/go-nostr/nip77/negentropy/storage/vector"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func serving() *httptest.Server {
	store := &slicestore.SliceStore{MaxLimit: 500}
	if err := store.Init(); err != nil {
		panic(err)
	}
	relay := khatru.NewRelay()
	relay.Log = log.New(io.Discard, "", 0)
	relay.StoreEvent = append(relay.StoreEvent, store.SaveEvent)
	relay.QueryEvents = append(relay.QueryEvents, store.QueryEvents)
	relay.Negentropy = true
	return httptest.NewServer(relay)
}

func lists77(url string) bool {
	request := must(http.NewRequest("GET", url, nil))
	request.Header.Set("Accept", "application/nostr+json")
	response := must(http.DefaultClient.Do(request))
	var info nip11.RelayInformationDocument
	if err := json.NewDecoder(response.Body).Decode(&info); err != nil {
		panic(err)
	}
	return slices.Contains(info.SupportedNIPs, any(float64(77)))
}

func main() {
	server := serving()
	defer server.Close()
	fmt.Println("NIP-11 lists 77:", lists77(server.URL))

	socket, _, err := websocket.DefaultDialer.Dial(strings.Replace(server.URL, "http", "ws", 1), nil)
	if err != nil {
		panic(err)
	}
	socket.SetReadDeadline(time.Now().Add(20 * time.Second))
	say := func(message json.Marshaler) {
		socket.WriteMessage(websocket.TextMessage, must(message.MarshalJSON()))
	}
	hear := func() []any {
		var answer []any
		if err := socket.ReadJSON(&answer); err != nil {
			panic(err)
		}
		return answer
	}

	event := nostr.Event{Kind: 1, CreatedAt: nostr.Now(), Tags: nostr.Tags{}, Content: "hello"}
	if err := event.Sign(nostr.GeneratePrivateKey()); err != nil {
		panic(err)
	}
	say(nostr.EventEnvelope{Event: event})
	answer := hear()
	fmt.Println("EVENT ->", answer[0], answer[2])

	filter := nostr.Filter{Kinds: []int{1}}
	say(nostr.ReqEnvelope{SubscriptionID: "page", Filters: nostr.Filters{filter}})
	fmt.Println("REQ ->", hear()[0], hear()[0])

	nothing := vector.New()
	nothing.Seal()
	open := nip77.OpenEnvelope{SubscriptionID: "sync", Filter: filter, Message: negentropy.New(nothing, 1024*1024).Start()}
	say(open)
	answer = hear()
	fmt.Println("NEG-OPEN ->", answer[0], answer[1])
	fmt.Println("ParseNegMessage of this NEG-OPEN:", nip77.ParseNegMessage(open.String()))
}
GO
seen=$(for version in v0.51.8 v0.52.3; do
    go get github.com/fiatjaf/khatru@v0.19.1 github.com/fiatjaf/eventstore/slicestore@v0.16.2 \
        github.com/nbd-wtf/go-nostr/nip77@$version 2>/dev/null
    echo "with $(go list -m github.com/nbd-wtf/go-nostr)"
    go run look.go
done)
expected='with github.com/nbd-wtf/go-nostr v0.51.8
NIP-11 lists 77: true
EVENT -> OK true
REQ -> EVENT EOSE
NEG-OPEN -> NOTICE failed to parse envelope: unknown envelope label
ParseNegMessage of this NEG-OPEN: <nil>
with github.com/nbd-wtf/go-nostr v0.52.3
NIP-11 lists 77: true
EVENT -> OK true
REQ -> EVENT EOSE
NEG-OPEN -> NEG-MSG sync
ParseNegMessage of this NEG-OPEN: ["NEG-OPEN","sync",{"kinds":[1]},"6100000200"]'
printf '%s\n' "$seen"
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
