package rpcserver

import (
	"errors"
	"sync"
	"time"
)

// questions are the requests that wait for raft's answer. Raft 1.7.3 forgets
// those that reach it while it shuts down, and who has asked then waits for
// ever. So raft is stopped only when all are answered, which does not take
// long: a leader without followers steps down and answers them all.
type questions struct {
	mu     sync.Mutex // guards closed, and open against an Add after the Wait
	closed bool
	open   sync.WaitGroup
	late   sync.WaitGroup // those that askFor has begun, whether or not it still waits
}

var errNoAnswer = errors.New("raft has not answered in time")

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

// askFor does so for a question that raft may not answer before it stops. After
// patience it returns errNoAnswer.
func (q *questions) askFor(patience time.Duration, f func() error) error {
	return q.ask(func() error {
		answer := make(chan error, 1)
		q.late.Go(func() { answer <- f() })
		select {
		case err := <-answer:
			return err
		case <-time.After(patience):
			return errNoAnswer
		}
	})
}

// end waits until all questions are answered; later ones are not asked. Those that
// nobody waits for any more have patience to be: what raft's main loop has heard by
// then it answers when it stops.
func (q *questions) end(patience time.Duration) {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.open.Wait()
	answered := make(chan struct{})
	go func() {
		q.late.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-time.After(patience):
	}
}
