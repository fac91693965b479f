package rpcserver

import (
	"io"
	"runtime"
	"time"
)

// resting is a writer that lets others go first: what a save computes would else
// keep one of few cores busy for seconds, and whoever writes waits for it. While
// entries are applied it rests after each block as long as the block took, so
// that a save takes twice as long; without them it only offers its place.
type resting struct {
	io.Writer
	applied func() uint64 // raft index of the last entry
	last    uint64        // the same, when the block before began
}

// paceBlock is how many bytes go without a rest: a millisecond of compression.
const paceBlock = 64 << 10

// maxRest bounds a rest, for a block can also take long because its reader does.
const maxRest = 5 * time.Millisecond

// resting paces what is written to w.
func (s *Server) resting(w io.Writer) io.Writer {
	return &resting{Writer: w, applied: s.raft.AppliedIndex}
}

// Write writes block by block.
func (p *resting) Write(b []byte) (written int, err error) {
	for len(b) > 0 && err == nil {
		block := b[:min(len(b), paceBlock)]
		b = b[len(block):]
		began := time.Now()
		var n int
		n, err = p.Writer.Write(block)
		written += n
		if applied := p.applied(); applied != p.last {
			p.last = applied
			time.Sleep(min(time.Since(began), maxRest))
		} else {
			runtime.Gosched()
		}
	}
	return written, err
}
