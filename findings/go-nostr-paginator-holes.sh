#!/usr/bin/env bash
# Package: github.com/nbd-wtf/go-nostr v0.52.3 (Go module).
#
# Guess: SimplePool.PaginatorWithInterval, which takes a list of relays, goes on page by page until each has been read
# to its end, and yields what any of them has.
#
# Behaviour: it keeps one place for all of them, and that is the oldest event of any page. Where a page of one relay
# reaches back an hour and a page of another a year, the next page of both starts a year ago: what the first has in
# between is never asked for. The place is shared while the requests are on their way, too, so a relay that connects
# later may be asked for nothing else from the start. No error; the channel closes as after the last page.
# Seen (relay A has 30 events, one a minute; relay B has 3, two of them old; both give 10 a request):
#   A alone     30 of 30
#   B alone     3 of 3
#   A and B     3 to 13 of 33, from run to run
#
# Why it matters: a program that copies an author's events from all of his relays loses most of a busy relay's as soon
# as a quiet one is in the list. The busy relay sees one request and then one for a time long ago, and has answered
# both in full. Each relay is best asked by itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GOMODCACHE="$work/modules" GOFLAGS=-modcacherw
go mod init look 2>/dev/null
go get github.com/nbd-wtf/go-nostr@v0.52.3 2>/dev/null

cat > look.go <<'GO'
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/nbd-wtf/go-nostr"
)

const pageSize = 10

// relay serves events, which stand newest first, pageSize a request.
func relay(events []nostr.Event) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		for {
			_, data, err := socket.Read(r.Context())
			if err != nil {
				return
			}
			var message []json.RawMessage
			var verb, id string
			var filter nostr.Filter
			if json.Unmarshal(data, &message) != nil || json.Unmarshal(message[0], &verb) != nil || verb != "REQ" {
				continue
			}
			json.Unmarshal(message[1], &id)
			json.Unmarshal(message[2], &filter)
			sent := 0
			for _, event := range events {
				if sent < pageSize && filter.Matches(&event) {
					text, _ := json.Marshal([]any{"EVENT", id, event})
					socket.Write(r.Context(), websocket.MessageText, text)
					sent++
				}
			}
			text, _ := json.Marshal([]any{"EOSE", id})
			socket.Write(r.Context(), websocket.MessageText, text)
		}
	}))
	return "ws" + strings.TrimPrefix(server.URL, "http")
}

func notes(times ...int) (events []nostr.Event) {
	for _, at := range times {
		event := nostr.Event{Kind: 1, CreatedAt: nostr.Timestamp(at), Tags: nostr.Tags{}, Content: fmt.Sprint(at)}
		event.Sign(strings.Repeat("0", 63) + "1")
		events = append(events, event)
	}
	return events
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var minutes []int
	for number := range 30 {
		minutes = append(minutes, 1700000000-60*number)
	}
	a, b := relay(notes(minutes...)), relay(notes(1700000001, 1690000001, 1680000001))
	for _, urls := range [][]string{{a}, {b}, {a, b}} {
		pool := nostr.NewSimplePool(ctx)
		found := map[string]bool{}
		for event := range pool.PaginatorWithInterval(10*time.Millisecond)(ctx, urls, nostr.Filter{Kinds: []int{1}}) {
			found[event.ID] = true
		}
		count := fmt.Sprint(len(found))
		if len(urls) == 2 && len(found) <= 13 {
			count = "at most 13"
		}
		fmt.Println("relays:", len(urls), "events:", count)
	}
}
GO
seen=$(timeout 90 go run look.go)
printf '%s\n' "$seen"
expected='relays: 1 events: 30
relays: 1 events: 3
relays: 2 events: at most 13'
[ "$seen" = "$expected" ] || { echo "The behaviour has changed." >&2; exit 1; }
