package chaos

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"praetor/rpcserver"
	"praetor/testutil/cluster"
	"praetor/testutil/history"
)

// Run carries out the plan of a seed in virtual time, under load, and fails the
// test unless the cluster is whole again after it: there is a leader, every
// server takes writes, every server that runs is in the raft configuration with
// the role that it had, all states are equal, no acknowledged write is lost, and
// nothing leaks. A failure prints the plan and what was done, and leaves the log
// of all servers in a file.
func Run(t *testing.T, seed uint64) {
	t.Helper()
	plan := NewPlan(seed)
	log := &serverLog{}
	record := &history.Recorder{}
	var n *nemesis
	defer func() {
		if t.Failed() || testing.Verbose() {
			t.Logf("%vwhat was done:\n%s\nlog of all servers: %s", plan, strings.Join(n.story, "\n"), log.keep(seed))
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		n = &nemesis{
			t: t, plan: plan, cluster: cluster.New(t, 0), log: log, history: record, blocks: map[[2]string]int{}, began: time.Now(),
			dead: make(chan death, 100), left: make(chan death, 100),
		}
		defer n.end()
		for range plan.Servers + plan.Replicas {
			n.machine()
		}
		for _, m := range n.machines {
			n.start(m)
		}
		n.background.Wait()
		time.Sleep(settling)
		n.converge()
		fresh := n.resources()

		n.startLoad()
		n.run()
		n.note("all faults end")
		n.heal()
		n.converge()
		n.readAll()
		time.Sleep(settling)
		n.mustNotLeak(fresh)
	})
	if t.Failed() {
		return // what clients were told by then is not the first thing to look at
	}
	record.Check(t, history.Promises{})
}

// settling is how long a cluster at rest is left alone before what it holds is
// counted: longer than connections that nobody uses are kept.
const settling = time.Minute

// end lets everything go that still waits.
func (n *nemesis) end() {
	if n.t.Failed() {
		for _, stack := range stacks() {
			fmt.Fprintf(n.log, "%s\n\n", stack)
		}
	}
	n.endLoad()
	for _, m := range n.machines {
		m.disk.renew()
	}
}

// serverLog is what all servers of a cluster log, in order.
type serverLog struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write adds a line.
func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *serverLog) option(_ int, c *rpcserver.Config) {
	c.Logger = hclog.New(&hclog.LoggerOptions{Name: c.NodeName, Level: hclog.Debug, Output: l, TimeFormat: "15:04:05.000"})
}

// keep writes the log to a file and returns its name.
func (l *serverLog) keep(seed uint64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	file := filepath.Join(os.TempDir(), fmt.Sprintf("chaos-seed-%d.log", seed))
	if err := os.WriteFile(file, l.buf.Bytes(), 0o600); err != nil {
		return err.Error()
	}
	return file
}
