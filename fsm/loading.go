package fsm

import "io"

// Loading is a Load of what is written to it, for a stream that is checked, or
// stored, on its way. It is loaded behind what is written, so that neither waits
// for each piece of the other. Finish must be called.
type Loading struct {
	filling []byte      // what is not full yet
	full    chan []byte // to the load
	free    chan []byte // and back
	loaded  *Loaded
	err     error
	done    chan struct{}
}

// The load is at most so far behind.
const (
	loadingPiece  = 256 << 10
	loadingPieces = 8
)

// StartLoad begins to load.
func StartLoad() *Loading {
	l := &Loading{full: make(chan []byte, loadingPieces), free: make(chan []byte, loadingPieces), done: make(chan struct{})}
	for range loadingPieces {
		l.free <- nil // has its memory when it is used
	}
	l.filling = l.next()
	go func() {
		defer close(l.done)
		r := &loadingReader{from: l}
		l.loaded, l.err = Load(r)
		_, _ = io.Copy(io.Discard, r) // who writes goes on, and hears of it from Finish
	}()
	return l
}

func (l *Loading) next() []byte {
	piece := <-l.free
	if piece == nil {
		piece = make([]byte, 0, loadingPiece)
	}
	return piece[:0]
}

// Write takes the next bytes of the stream. It does not fail.
func (l *Loading) Write(p []byte) (int, error) {
	for left := p; len(left) > 0; {
		n := min(len(left), cap(l.filling)-len(l.filling))
		l.filling, left = append(l.filling, left[:n]...), left[n:]
		if len(l.filling) == cap(l.filling) {
			l.full <- l.filling
			l.filling = l.next()
		}
	}
	return len(p), nil
}

// Finish ends the stream, with err if it broke off, and returns what was loaded
// and nil, or the first of both errors.
func (l *Loading) Finish(err error) (*Loaded, error) {
	l.full <- l.filling
	close(l.full)
	<-l.done
	if err != nil {
		return nil, err
	}
	return l.loaded, l.err
}

// loadingReader reads what a Loading was given.
type loadingReader struct {
	from  *Loading
	piece []byte
	read  int
}

// Read reads on.
func (r *loadingReader) Read(p []byte) (int, error) {
	for r.read == len(r.piece) {
		if r.piece != nil {
			r.from.free <- r.piece
		}
		var more bool
		r.read = 0
		if r.piece, more = <-r.from.full; !more {
			return 0, io.EOF
		}
	}
	n := copy(p, r.piece[r.read:])
	r.read += n
	return n, nil
}
