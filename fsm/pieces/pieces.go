// Package pieces passes a stream from one goroutine to another. Unlike io.Pipe,
// which has each wait for every piece of the other, it lets the one that writes
// run ahead by some large pieces.
package pieces

import "io"

const (
	size  = 256 << 10 // of a piece
	ahead = 8         // so many pieces there are
)

// Queue is a stream on its way. One goroutine writes and closes it, another reads
// it to its end.
type Queue struct {
	filling []byte // what is not full yet
	full    chan []byte
	free    chan []byte // those that were read
	reading []byte      // the piece that is being read
	left    []byte      // what of it is left
}

// New returns an empty queue.
func New() *Queue {
	q := &Queue{full: make(chan []byte, ahead), free: make(chan []byte, ahead)}
	for range ahead {
		q.free <- nil // gets its memory when it is used
	}
	return q
}

// Write puts bytes behind those that are there. It waits while the reader is too
// far behind, and does not fail.
func (q *Queue) Write(p []byte) (int, error) {
	for left := p; len(left) > 0; {
		if q.filling == nil {
			if q.filling = <-q.free; q.filling == nil {
				q.filling = make([]byte, 0, size)
			}
		}
		n := min(len(left), size-len(q.filling))
		q.filling, left = append(q.filling, left[:n]...), left[n:]
		if len(q.filling) == size {
			q.full <- q.filling
			q.filling = nil
		}
	}
	return len(p), nil
}

// Close ends the stream.
func (q *Queue) Close() {
	if q.filling != nil {
		q.full <- q.filling
	}
	close(q.full)
}

// next waits until there is something left to read; false is the end.
func (q *Queue) next() bool {
	for len(q.left) == 0 {
		if q.reading != nil {
			q.free <- q.reading[:0]
		}
		q.reading = <-q.full
		if q.left = q.reading; q.reading == nil {
			return false
		}
	}
	return true
}

// Read reads what was written.
func (q *Queue) Read(p []byte) (int, error) {
	if !q.next() {
		return 0, io.EOF
	}
	n := copy(p, q.left)
	q.left = q.left[n:]
	return n, nil
}

// WriteTo passes on what was written, until w fails.
func (q *Queue) WriteTo(w io.Writer) (passed int64, err error) {
	for err == nil && q.next() {
		var n int
		n, err = w.Write(q.left)
		passed += int64(n)
		q.left = nil
	}
	return passed, err
}

// Drain reads what is left, so that the writer need not wait.
func (q *Queue) Drain() {
	for q.next() {
		q.left = nil
	}
}
