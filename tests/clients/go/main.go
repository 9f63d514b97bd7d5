// go-nostr: a pool; with a key it authenticates when a relay asks. It reads commands, one JSON object a line, lets the
// library carry them out, and answers each with one JSON line. See tests/clients/driver.py for the other end.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nbd-wtf/go-nostr"
	"github.com/nbd-wtf/go-nostr/nip77"
)

type command struct {
	Number   int             `json:"number"`
	Does     string          `json:"does"`
	Argument json.RawMessage `json:"argument"`
}

type client struct {
	pool *nostr.SimplePool
	url  string
}

// What the scenario needs to know of an event that was found.
type found struct {
	ID   string `json:"id"`
	Tags int    `json:"tags"`
}

var lock sync.Mutex

func say(line map[string]any) {
	lock.Lock()
	defer lock.Unlock()
	text, _ := json.Marshal(line)
	fmt.Println(string(text))
}

func main() {
	url, secret := os.Args[1], os.Args[2]
	options := []nostr.PoolOption{}
	if secret != "" {
		options = append(options, nostr.WithAuthHandler(func(_ context.Context, it nostr.RelayEvent) error {
			return it.Event.Sign(secret)
		}))
	}
	client := client{nostr.NewSimplePool(context.Background(), options...), url}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var command command
		if err := json.Unmarshal(lines.Bytes(), &command); err != nil {
			panic(err)
		}
		go client.answer(command)
	}
}

func (client client) answer(command command) {
	value, err := client.do(command)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		say(map[string]any{"number": command.Number, "lacks": true})
	case err != nil:
		say(map[string]any{"number": command.Number, "failed": err.Error()})
	default:
		say(map[string]any{"number": command.Number, "value": value})
	}
}

func (client client) do(command command) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	if command.Does == "publish" {
		var event nostr.Event
		if err := json.Unmarshal(command.Argument, &event); err != nil {
			return nil, err
		}
		return nil, (<-client.pool.PublishMany(ctx, []string{client.url}, event)).Error
	}
	var filter nostr.Filter
	if err := json.Unmarshal(command.Argument, &filter); err != nil {
		return nil, errors.ErrUnsupported
	}
	switch command.Does {
	case "fetch":
		return client.fetch(ctx, filter)
	case "subscribe":
		return nil, client.subscribe(filter)
	case "count":
		relay, err := client.pool.EnsureRelay(client.url)
		if err != nil {
			return nil, err
		}
		number, _, err := relay.Count(ctx, nostr.Filters{filter})
		return number, err
	case "sync":
		store := &store{}
		err := nip77.NegentropySync(ctx, store, client.url, filter, nip77.Down)
		return len(store.ids), err
	}
	return nil, errors.ErrUnsupported
}

func (client client) fetch(ctx context.Context, filter nostr.Filter) (any, error) {
	events := []found{}
	for it := range client.pool.FetchMany(ctx, []string{client.url}, filter) {
		events = append(events, found{it.ID, len(it.Tags)})
	}
	return events, ctx.Err()
}

func (client client) subscribe(filter nostr.Filter) error {
	ready := make(chan struct{})
	events := client.pool.SubscribeManyNotifyEOSE(context.Background(), []string{client.url}, filter, ready)
	go func() {
		for it := range events {
			say(map[string]any{"arrived": it.ID})
		}
	}()
	<-ready
	return nil
}

// A store that is empty at first, for a sync.
type store struct {
	lock sync.Mutex
	ids  []string
}

func (it *store) Publish(_ context.Context, event nostr.Event) error {
	it.lock.Lock()
	defer it.lock.Unlock()
	it.ids = append(it.ids, event.ID)
	return nil
}

func (it *store) QueryEvents(context.Context, nostr.Filter) (chan *nostr.Event, error) {
	none := make(chan *nostr.Event)
	close(none)
	return none, nil
}

func (it *store) QuerySync(context.Context, nostr.Filter) ([]*nostr.Event, error) {
	return nil, nil
}
