package agent

import (
	"net/http"
	"testing"
	"time"
)

func TestDateHeader(t *testing.T) {
	var d dateHeader
	at := time.Date(2026, 1, 2, 3, 4, 5, 999, time.FixedZone("", 3600))
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{{0, "Fri, 02 Jan 2026 02:04:05 GMT"}, {900 * time.Millisecond, "Fri, 02 Jan 2026 02:04:05 GMT"}, {time.Second, "Fri, 02 Jan 2026 02:04:06 GMT"}} {
		header := http.Header{}
		d.set(header, at.Add(tt.after))
		if got := header.Get("Date"); got != tt.want {
			t.Errorf("after %v: got %q, want %q", tt.after, got, tt.want)
		}
	}
}
