package rpcserver

import "os"

// earlySync has a file go to disk while it is still being written, so that the
// sync at its end, which counts, has little left to do: who waits for that waits
// less, and so does who else syncs at that moment.
type earlySync struct {
	path  string
	since int64         // bytes written since the last sync began
	done  chan struct{} // closed when that has ended; nil before the first
}

// earlySyncStep is how many bytes are written before they are synced.
const earlySyncStep = 16 << 20

// wrote says that n bytes more are in the file. An error to sync them is not
// lost: the sync at the end has it too.
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
	file, err := os.OpenFile(e.path, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	done := make(chan struct{})
	e.since, e.done = 0, done
	go func() {
		defer close(done)
		_ = file.Sync()
		file.Close()
	}()
}

// end waits for the sync that is under way.
func (e *earlySync) end() {
	if e.done != nil {
		<-e.done
	}
}
