package command

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
)

// meter shows on one line of a terminal how many bytes have gone by. A nil
// meter shows nothing.
type meter struct {
	w           io.Writer
	label       string
	done, total int64 // bytes; total is 0 if nobody knows
	shown       time.Time
}

// meterEvery is the pace of the display.
const meterEvery = 100 * time.Millisecond

// meter returns one if stderr is a terminal.
func (s *shell) meter(label string, total int64) *meter {
	if !isTerminal(s.stderr) {
		return nil
	}
	return &meter{w: s.stderr, label: label, total: total, shown: time.Now()}
}

// isTerminal asks the writer itself, if it knows.
func isTerminal(w any) bool {
	switch w := w.(type) {
	case interface{ IsTerminal() bool }:
		return w.IsTerminal()
	case *os.File:
		return isatty.IsTerminal(w.Fd())
	}
	return false
}

// reader counts what is read through it.
func (m *meter) reader(r io.Reader) io.Reader {
	if m == nil {
		return r
	}
	return io.TeeReader(r, m)
}

// Write counts p.
func (m *meter) Write(p []byte) (int, error) {
	m.done += int64(len(p))
	if now := time.Now(); now.Sub(m.shown) >= meterEvery {
		m.shown = now
		fmt.Fprintf(m.w, "\r\x1b[K%s", m)
	}
	return len(p), nil
}

// String is the line: a bar if the end is known.
func (m *meter) String() string {
	if m.total <= 0 {
		return fmt.Sprintf("%s %s", m.label, size(m.done))
	}
	const width = 30
	part := min(float64(m.done)/float64(m.total), 1)
	filled := int(part * width)
	return fmt.Sprintf("%s [%s%s] %3.0f%% of %s", m.label,
		strings.Repeat("=", filled), strings.Repeat(" ", width-filled), part*100, size(m.total))
}

// clear leaves an empty line for what is printed next.
func (m *meter) clear() {
	if m != nil {
		fmt.Fprint(m.w, "\r\x1b[K")
	}
}
