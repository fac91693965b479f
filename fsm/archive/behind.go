package archive

import (
	"io"

	"praetor/fsm/pieces"
)

// behind writes in a goroutine of its own: to unpack an archive takes about as long as what becomes of the content.
type behind struct {
	queue *pieces.Queue
	ended chan struct{}
	err   error // why it ended early; read it when ended is closed
}

func writeBehind(w io.Writer) *behind {
	b := &behind{queue: pieces.New(), ended: make(chan struct{})}
	go func() {
		_, b.err = b.queue.WriteTo(w)
		close(b.ended)
		b.queue.Drain()
	}()
	return b
}

// Write fails once a write before it has.
func (b *behind) Write(p []byte) (int, error) {
	select {
	case <-b.ended:
		return 0, b.err
	default:
		return b.queue.Write(p)
	}
}

// finish waits until all is written.
func (b *behind) finish() error {
	b.queue.Close()
	<-b.ended
	return b.err
}
