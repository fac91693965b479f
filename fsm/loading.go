package fsm

import "io"

// Loading is a Load of what is written to it, for a stream that is checked, or
// stored, on its way. Finish must be called.
type Loading struct {
	pipe   *io.PipeWriter
	loaded *Loaded
	err    error
	done   chan struct{}
}

// StartLoad begins to load.
func StartLoad() *Loading {
	r, w := io.Pipe()
	l := &Loading{pipe: w, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		l.loaded, l.err = Load(r)
		_, _ = io.Copy(io.Discard, r) // who writes goes on, and hears of it from Finish
	}()
	return l
}

// Write takes the next bytes of the stream. It does not fail.
func (l *Loading) Write(p []byte) (int, error) { return l.pipe.Write(p) }

// Finish ends the stream, with err if it broke off, and returns what was loaded
// and nil, or the first of both errors.
func (l *Loading) Finish(err error) (*Loaded, error) {
	_ = l.pipe.CloseWithError(err)
	<-l.done
	if err != nil {
		return nil, err
	}
	return l.loaded, l.err
}
