package chaos

import (
	"errors"
	"sync"
	"time"
)

// disk is what stands between one server's raft and its files. All faults end
// with the process: the next start finds a disk that works.
type disk struct {
	mu    sync.Mutex    // guards the fields below
	delay time.Duration // of every write
	hung  chan struct{} // closes when the disk moves again; nil: it moves
	fails failure
	armed bool                                        // it fails once entries are cut off the log
	last  func(what string, write func() error) error // makes the next write, which is the last: see powerloss.go
	dying func()                                      // called when the process ends of a write that failed

	io sync.RWMutex // held by the last write alone, by others together
}

type failure int

const (
	works       failure = iota
	failsAtOnce         // an error, and nothing was written
	failsLate           // an error, but all is there: fsync failed after the write
)

var errDisk = errors.New("chaos: the disk fails")

// write is the server's Raft.AroundWrite.
func (d *disk) write(what string, do func() error) error {
	d.mu.Lock()
	delay, hung, last := d.delay, d.hung, d.last
	d.mu.Unlock()
	if hung != nil {
		<-hung
	}
	if delay > 0 {
		time.Sleep(delay)
	}
	d.mu.Lock()
	fails := d.fails
	if last != nil && (what == "log" || what == "cut") && d.last != nil {
		d.last = nil
	} else {
		last = nil
	}
	dying := d.dying
	d.mu.Unlock()

	if last != nil {
		d.io.Lock()
		defer d.io.Unlock()
		return last(what, do)
	}
	d.io.RLock()
	defer d.io.RUnlock()
	switch {
	case fails == works:
		err := do()
		if err == nil && what == "cut" {
			d.set(func() {
				if d.armed {
					d.fails = failsAtOnce
				}
			})
		}
		return err
	case what == "CurrentTerm":
		dying() // raft would panic, which ends a process
		return do()
	case fails == failsLate:
		if err := do(); err != nil {
			return err
		}
	}
	return errDisk
}

func (d *disk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// hang stops all writes until move.
func (d *disk) hang() {
	d.set(func() {
		if d.hung == nil {
			d.hung = make(chan struct{})
		}
	})
}

func (d *disk) move() {
	d.set(func() {
		if d.hung != nil {
			close(d.hung)
			d.hung = nil
		}
	})
}

// renew ends all faults.
func (d *disk) renew() {
	d.move()
	d.set(func() { d.delay, d.fails, d.armed, d.last = 0, works, false, nil })
}
