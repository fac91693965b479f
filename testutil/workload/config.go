package workload

import (
	"context"
	"fmt"
	"slices"
	"time"

	"praetor/rpcserver/client"
	"praetor/structs"
)

// Server is one server that clients may ask.
type Server struct {
	Name string // of its node in the catalog, for sessions

	// Connect returns a client of this server alone. The workload closes it.
	Connect func() (*client.Client, error)

	// Life is a number that is another for each process of the server, 0 while
	// there is none. Nil: it is not known, and what holds for the life of a
	// process is not checked.
	Life func() uint64

	// Follow runs a change feed of this server until it ends. Nil: it has none.
	Follow func(ctx context.Context, q *structs.FeedRequest, take func([]structs.FeedEvent) error) error
}

// Mix says how often clients do what, in relation to each other.
type Mix struct {
	Registers int // single keys: set, compare-and-set, delete and reads of each kind
	Groups    int // a few keys under a prefix: transactions, lists, deletes of all
	Locks     int // take a lock, write under its fence, give it back or lose it
	Waits     int // blocking queries on single keys
	Services  int // of the catalog: register, register if unchanged, deregister, read, and wait for
}

// Config says what the clients do. The zero value of a field is its default.
type Config struct {
	Seed    uint64
	Prefix  string   // of all keys; two workloads on one cluster need two. "h<seed>/"
	Servers []Server // at least one

	Clients   int           // 6
	Ops       int           // calls of each client; 0: until the context ends
	Pause     time.Duration // mean time between two calls of a client; 20 ms
	Timeout   time.Duration // of a call; 3 s
	Wait      time.Duration // of a blocking query; 2 s
	Mix       Mix           // {4, 3, 2, 1, 2}
	Followers int           // clients that follow change feeds; 2, and none if no server has one

	// Settle is called when the clients have made their calls, if there is one: to
	// end whatever keeps the followers from hearing of the last of them. They then
	// have Patience for that; a minute.
	Settle   func()
	Patience time.Duration

	// Slots are how many registers, groups, locks and services are used at a time. Each is
	// left for a fresh one after so many calls, or so many of them with unclear
	// outcome: the cost of checking grows with the calls, and doubles with each
	// open one.
	Slots   int // 3
	MaxOps  int // 150
	MaxOpen int // 6
}

func (c Config) withDefaults() (Config, error) {
	if len(c.Servers) == 0 {
		return c, structs.Errorf(structs.Invalid, "workload: Servers is empty")
	}
	for _, s := range c.Servers {
		if s.Connect == nil {
			return c, structs.Errorf(structs.Invalid, "workload: server %q has no Connect", s.Name)
		}
	}
	if c.Prefix == "" {
		c.Prefix = fmt.Sprintf("h%d/", c.Seed)
	}
	if c.Mix == (Mix{}) {
		c.Mix = Mix{Registers: 4, Groups: 3, Locks: 2, Waits: 1, Services: 2}
	}
	for _, d := range []struct {
		value *int
		usual int
	}{{&c.Clients, 6}, {&c.Followers, 2}, {&c.Slots, 3}, {&c.MaxOps, 150}, {&c.MaxOpen, 6}} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	for _, d := range []struct {
		value *time.Duration
		usual time.Duration
	}{{&c.Pause, 20 * time.Millisecond}, {&c.Timeout, 3 * time.Second}, {&c.Wait, 2 * time.Second}, {&c.Patience, time.Minute}} {
		if *d.value == 0 {
			*d.value = d.usual
		}
	}
	if !slices.ContainsFunc(c.Servers, func(s Server) bool { return s.Follow != nil }) {
		c.Followers = 0
	}
	return c, nil
}
