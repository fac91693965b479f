package archive_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"praetor/fsm/archive"
)

// kvState makes something that compresses as a snapshot of a busy KV store does: regular records, keys with common
// prefixes, and values that are half JSON settings, a quarter tokens and a quarter random bytes.
func kvState(size int) []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func() string { return fmt.Sprintf("%08x", rnd.Uint32()) }
	random := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		return string(b)
	}
	var b bytes.Buffer
	for i := 0; b.Len() < size; i++ {
		var value string
		switch i % 4 {
		case 0, 1:
			value = fmt.Sprintf(`{"service":"web-%d","owner":"team-%d","image":"registry.example.com/web:%s","replicas":%d,"env":{"LOG_LEVEL":"info","REGION":"eu-west-1"}}`,
				rnd.IntN(200), rnd.IntN(20), word(), rnd.IntN(9))
		case 2:
			value = word() + "-" + word() + "-" + word() + "-" + word()
		case 3:
			value = random(200)
		}
		fmt.Fprintf(&b, "\x02\x87\xa9LockIndex\x00\xa3Key\xd9\x30config/region-%d/service-%04d/instance-%06d\xa5Flags\x00\xa5Value\xc5%s\xabCreateIndex\xce%08x\xabModifyIndex\xce%08x",
			i%3, rnd.IntN(2000), i, value, i, i+rnd.IntN(1000))
	}
	return b.Bytes()[:size]
}

func BenchmarkWrite(b *testing.B) {
	state := kvState(50 << 20)
	m := meta(state)
	var out counter
	b.SetBytes(int64(len(state)))
	for b.Loop() {
		out = 0
		if err := archive.Write(&out, m, bytes.NewReader(state)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(out)/float64(len(state)), "size/state")
}

func BenchmarkRead(b *testing.B) {
	state := kvState(50 << 20)
	var file bytes.Buffer
	if err := archive.Write(&file, meta(state), bytes.NewReader(state)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(state)))
	for b.Loop() {
		if _, err := archive.Read(bytes.NewReader(file.Bytes()), io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
