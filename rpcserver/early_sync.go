package rpcserver

import "os"

// earlySync has a file go to disk while it is still being written, so that the
// sync at its end, which counts, has little left to do: who waits for that waits
// less, and so does who else syncs at that moment.
type earlySync struct {
	sync  func() error  // of the file
	since int64         // bytes written since the last sync began
	done  chan struct{} // closed when that has ended; nil before the first
	err   error         // of the first that failed; read it when done is closed
}

// earlySyncStep is how many bytes are written before they are synced.
const earlySyncStep = 16 << 20

// wrote says that n bytes more are in the file.
func (e *earlySync) wrote(n int) {
	e.since += int64(n)
	if e.since < earlySyncStep {
		return
	}
	if e.done != nil {
		select {
		case <-e.done:
		default:
			return
		}
	}
	done := make(chan struct{})
	e.since, e.done = 0, done
	go func() {
		defer close(done)
		if err := e.sync(); e.err == nil {
			e.err = err
		}
	}()
}

// end waits for the sync that is under way. The system tells an error once to
// who has the file open: if the last sync is by the same, this error counts.
func (e *earlySync) end() error {
	if e.done != nil {
		<-e.done
	}
	return e.err
}

// syncFile syncs a file that somebody else has open.
func syncFile(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	return file.Sync()
}
