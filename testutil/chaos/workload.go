package chaos

import (
	"context"
	"fmt"
	"time"

	"praetor/testutil/history"
	"praetor/testutil/workload"
)

// clients is how many machines of clients there are, at most: package workload
// has one for each server that the cluster begins with.
const clients = 6

func clientIP(i int) string { return fmt.Sprintf("10.0.1.%d", i+1) }

// load is the workload under way.
type load struct {
	end  context.CancelFunc
	done chan struct{}
}

// startLoad starts the clients, which know the servers that there are now.
func (n *nemesis) startLoad() {
	ctx, cancel := context.WithCancel(context.Background())
	n.load = &load{cancel, make(chan struct{})}
	config := workload.Config{
		Seed: n.plan.Seed, Prefix: prefix, Servers: workload.OnCluster(n.cluster), Clients: 5, Pause: 60 * time.Millisecond,
	}
	go func() {
		defer close(n.load.done)
		stats, err := workload.Run(ctx, config, n.history)
		if err != nil {
			n.t.Error(err)
		}
		n.note("the clients: %v", stats)
	}()
}

// endLoad ends the clients, if they were started, and waits for them.
func (n *nemesis) endLoad() {
	if n.load != nil {
		n.load.end()
		<-n.load.done
	}
}

const (
	prefix  = "h/"
	nemeses = -1 // the client that restores, and that reads everything in the end
)

// readAll records what is in every key that clients may have used, as a
// consistent read would find it once all states are equal.
func (n *nemesis) readAll() {
	found := map[string]history.Entry{}
	for _, e := range entriesIn(n.up()[0].FSM().Store().Read()) {
		found[e.Key] = e
	}
	var keys []string
	for slot := range 3 {
		for generation := range 40 {
			keys = append(keys, fmt.Sprintf("%sr/%d.%d", prefix, slot, generation),
				fmt.Sprintf("%s%d.%d", workload.ServiceNames(prefix), slot, generation))
			for member := range 4 {
				keys = append(keys, fmt.Sprintf("%sg/%d.%d/%d", prefix, slot, generation, member))
			}
		}
	}
	for _, key := range keys {
		call := n.history.Begin(nemeses, history.Op{Kind: history.Get, Key: key, Read: history.Consistent})
		var result history.Result
		if e, ok := found[key]; ok {
			result.Entries = []history.Entry{e}
		}
		call.Done(result)
	}
}
