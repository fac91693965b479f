package pieces_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"praetor/fsm/pieces"
)

// start writes content to a queue, in writes of all sizes.
func start(content []byte) *pieces.Queue {
	q := pieces.New()
	go func() {
		random := rand.New(rand.NewPCG(1, 2))
		for left := content; len(left) > 0; {
			n := min(len(left), random.IntN(700_000))
			_, _ = q.Write(left[:n])
			left = left[n:]
		}
		q.Close()
	}()
	return q
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1, 256 << 10, 256<<10 + 1, 3<<20 + 7} {
		content := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{}).Read(content)
		for name, read := range map[string]func(*pieces.Queue) ([]byte, error){
			"Read":        func(q *pieces.Queue) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{q}) },
			"Read halves": func(q *pieces.Queue) ([]byte, error) { return io.ReadAll(iotest.HalfReader(q)) },
			"WriteTo": func(q *pieces.Queue) ([]byte, error) {
				var b bytes.Buffer
				_, err := q.WriteTo(&b)
				return b.Bytes(), err
			},
		} {
			q := start(content)
			if got, err := read(q); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%s of %d bytes: got %d, %v, or others", name, size, len(got), err)
			}
			if n, err := q.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("%s: behind the end: %d, %v", name, n, err)
			}
		}
	}
}

// A writer is not left waiting by a reader that has had enough.
func TestDrain(t *testing.T) {
	t.Parallel()
	q := start(make([]byte, 20<<20))
	broken := errors.New("broken")
	if n, err := q.WriteTo(failing{broken}); n != 0 || err != broken {
		t.Errorf("got %d, %v", n, err)
	}
	q.Drain()
	if _, err := q.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
