// A relay by khatru, with its store in memory: `khatru ADDRESS`.
package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/fiatjaf/eventstore/slicestore"
	"github.com/fiatjaf/khatru"
)

func main() {
	store := &slicestore.SliceStore{MaxLimit: 500}
	if err := store.Init(); err != nil {
		panic(err)
	}
	relay := khatru.NewRelay()
	relay.StoreEvent = append(relay.StoreEvent, store.SaveEvent)
	relay.ReplaceEvent = append(relay.ReplaceEvent, store.ReplaceEvent)
	relay.QueryEvents = append(relay.QueryEvents, store.QueryEvents)
	relay.CountEvents = append(relay.CountEvents, store.CountEvents)
	relay.DeleteEvent = append(relay.DeleteEvent, store.DeleteEvent)
	relay.Negentropy = true
	fmt.Println("listening")
	fmt.Println(http.ListenAndServe(os.Args[1], relay))
}
