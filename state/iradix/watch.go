package iradix

import "sync/atomic"

// watch is for those who wait until a node or a leaf is one of the past. Its
// channel is made for the first of them.
type watch struct{ ch atomic.Pointer[chan struct{}] }

// past is the channel of whatever has ended.
var past = func() *chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return &ch
}()

func (w *watch) channel() <-chan struct{} {
	if ch := w.ch.Load(); ch != nil {
		return *ch
	}
	ch := make(chan struct{})
	w.ch.CompareAndSwap(nil, &ch)
	return *w.ch.Load()
}

func (w *watch) end() {
	if ch := w.ch.Swap(past); ch != nil && ch != past {
		close(*ch)
	}
}
