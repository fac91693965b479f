package rpcserver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"praetor/rpcserver"
)

// slow is a writer that takes its time for each write.
type slow struct {
	each   time.Duration
	writes int
	bytes  int
}

// Write takes its time.
func (s *slow) Write(p []byte) (int, error) {
	time.Sleep(s.each)
	s.writes++
	s.bytes += len(p)
	return len(p), nil
}

// A save rests as long as it works while entries are applied, and not at all
// while none are.
func TestPaced(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		each     time.Duration // that a block takes
		applying uint64        // entries per block
		rest     time.Duration // after each block
	}{
		"nobody writes":              {3 * time.Millisecond, 0, 0},
		"somebody writes":            {3 * time.Millisecond, 1, 3 * time.Millisecond},
		"the reader is slow as well": {time.Second, 7, rpcserver.MaxRest},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &slow{each: test.each}
				index := uint64(0)
				paced := rpcserver.Paced(w, func() uint64 { index += test.applying; return index })
				start := time.Now()
				const blocks = 10
				n, err := paced.Write(make([]byte, (blocks-1)*rpcserver.PaceBlock+1))
				if want := (blocks-1)*rpcserver.PaceBlock + 1; n != want || err != nil || w.bytes != want || w.writes != blocks {
					t.Errorf("got %d bytes, %v; %d bytes in %d blocks; want %d in %d", n, err, w.bytes, w.writes, want, blocks)
				}
				if took, want := time.Since(start), blocks*(test.each+test.rest); took != want {
					t.Errorf("it took %v, want %v", took, want)
				}
			})
		})
	}
}
