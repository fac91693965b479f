package vnet

import (
	"bytes"
	"time"
)

// capacity bounds the bytes of one direction, in flight and unread together.
const capacity = 256 << 10

// ending is how a sender can end its direction.
type ending int

const (
	open      ending = iota
	halfClose        // CloseWrite: end of file, but the sender still reads
	fullClose        // Close: end of file, and nobody reads any more
	reset            // the sender's process died
)

// segment is something on its way: bytes, or the end of them.
type segment struct {
	due  time.Time
	data []byte
	end  ending
}

// inbox is the receiving half of a conn: what is on its way over the link and
// what has arrived.
type inbox struct {
	link    *link
	flight  []segment // in order, due times never falling
	arrived bytes.Buffer
	size    int    // bytes in flight and in arrived
	end     ending // the last ending that arrived
	held    bool   // the link was closed when last looked at
	deaf    bool   // the receiver has closed: what arrives is dropped
}

func (in *inbox) push(s segment, now time.Time, delay time.Duration) {
	s.due = now.Add(delay)
	if n := len(in.flight); n > 0 && in.flight[n-1].due.After(s.due) {
		s.due = in.flight[n-1].due
	}
	in.flight = append(in.flight, s)
	in.size += len(s.data)
	in.settle(now)
}

// settle lets arrive what is due. It is called before and after the link
// changes, so a link is never seen to have changed in between.
func (in *inbox) settle(now time.Time) {
	if !in.link.open() {
		in.held = true
		return
	}
	if in.held {
		in.held = false
		in.resend(now)
	}
	for len(in.flight) > 0 && passed(in.flight[0].due, now) {
		s := in.flight[0]
		in.flight = in.flight[1:]
		in.arrived.Write(s.data)
		in.end = max(in.end, s.end)
	}
	if in.deaf {
		in.size -= in.arrived.Len()
		in.arrived.Reset()
	}
}

// resend starts the journey of everything in flight again.
func (in *inbox) resend(now time.Time) {
	due := now.Add(in.link.Delay)
	for i := range in.flight {
		if in.flight[i].due.Before(due) {
			in.flight[i].due = due
		}
	}
}

// next returns when something arrives, or zero if nothing will.
func (in *inbox) next() time.Time {
	if in.held || len(in.flight) == 0 {
		return time.Time{}
	}
	return in.flight[0].due
}

func (in *inbox) read(b []byte) int {
	n, _ := in.arrived.Read(b)
	in.size -= n
	return n
}
