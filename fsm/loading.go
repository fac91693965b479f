package fsm

import "praetor/fsm/pieces"

// Loading is a Load of what is written to it, for a stream that is checked, or
// stored, on its way. Finish must be called.
type Loading struct {
	stream *pieces.Queue
	loaded *Loaded
	err    error
	done   chan struct{}
}

// StartLoad begins to load.
func StartLoad() *Loading {
	l := &Loading{stream: pieces.New(), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.loaded, l.err = Load(l.stream)
		l.stream.Drain() // who writes goes on, and hears of it from Finish
	}()
	return l
}

// Write takes the next bytes of the stream. It does not fail.
func (l *Loading) Write(p []byte) (int, error) { return l.stream.Write(p) }

// Finish ends the stream, with err if it broke off, and returns what was loaded
// and nil, or the first of both errors.
func (l *Loading) Finish(err error) (*Loaded, error) {
	l.stream.Close()
	<-l.done
	if err != nil {
		return nil, err
	}
	return l.loaded, l.err
}
