package rpcserver

import (
	"context"
	"sync"
)

// signal wakes any number of goroutines at once. The zero value is ready.
type signal struct {
	mu     sync.Mutex // guards the fields below
	ctx    context.Context
	cancel context.CancelFunc
}

// next returns a context that ends with the next fire.
func (s *signal) next() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		s.ctx, s.cancel = context.WithCancel(context.Background())
	}
	return s.ctx
}

func (s *signal) fire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx != nil {
		s.cancel()
		s.ctx, s.cancel = nil, nil
	}
}
