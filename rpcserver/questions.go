package rpcserver

import "sync"

// questions are the requests that wait for raft's answer. Raft 1.7.3 forgets
// those that reach it while it shuts down, and who has asked then waits for
// ever. So raft is stopped only when all are answered, which does not take
// long: a leader without followers steps down and answers them all.
type questions struct {
	mu     sync.Mutex // guards closed, and open against an Add after the Wait
	closed bool
	open   sync.WaitGroup
}

// ask runs f, which asks raft and waits, or returns errStopping without asking.
func (q *questions) ask(f func() error) error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return errStopping
	}
	q.open.Add(1)
	q.mu.Unlock()
	defer q.open.Done()
	return f()
}

// end waits until all questions are answered; later ones are not asked.
func (q *questions) end() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.open.Wait()
}
