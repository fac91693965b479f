package testutil

import (
	"bytes"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// logLimit bounds the log that is kept of one logger; the newest part stays.
const logLimit = 1 << 20

// Logger returns a logger that keeps its lines and prints them only if the
// test fails. It may be written to after the test has ended: such lines are
// dropped. Loggers derived from it with Named share its log, so the lines of
// a whole cluster can stand in order.
func Logger(t testing.TB, name string) hclog.Logger {
	kept := &keeper{}
	t.Cleanup(func() {
		lines := kept.close()
		if t.Failed() && len(lines) > 0 {
			t.Logf("log of %s:\n%s", name, lines)
		}
	})
	return hclog.New(&hclog.LoggerOptions{
		Name:       name,
		Level:      hclog.Debug,
		Output:     kept,
		TimeFormat: "15:04:05.000000",
	})
}

// keeper remembers the end of what is written to it until it is closed.
type keeper struct {
	mu     sync.Mutex // guards the fields below
	buf    bytes.Buffer
	closed bool
}

func (k *keeper) Write(b []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return len(b), nil
	}
	k.buf.Write(b)
	if k.buf.Len() > logLimit {
		k.buf.Next(k.buf.Len() - logLimit/2)
		k.buf.ReadBytes('\n') // what is left of a line
	}
	return len(b), nil
}

func (k *keeper) close() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	return k.buf.Bytes()
}
