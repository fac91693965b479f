package rpcserver

import "sync"

// budget bounds what the calls of one client connection may cost while they
// are under way. When it is used up, no more is read from the connection.
type budget struct {
	mu    sync.Mutex // guards the fields below
	room  sync.Cond
	calls int
	bytes int // of their requests
}

const (
	maxCalls     = 16384
	maxCallBytes = 32 << 20
)

func newBudget() *budget {
	b := &budget{}
	b.room.L = &b.mu
	return b
}

// take waits until there is room for a call with a request of that size.
func (b *budget) take(size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.calls >= maxCalls || b.calls > 0 && b.bytes+size > maxCallBytes {
		b.room.Wait()
	}
	b.calls++
	b.bytes += size
}

func (b *budget) give(size int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls--
	b.bytes -= size
	b.room.Broadcast() // the next in line may need more than was given back
}
