package rpcserver

// turnstile is a lock that many may share or one may have. In virtual time,
// unlike with a sync.RWMutex, the clock goes on while somebody waits for it:
// whoever has it may be waiting for a disk.
type turnstile struct {
	places chan struct{} // full: nobody may come
	sole   chan struct{} // full: somebody has it, or is about to
}

// sharers is how many may share a turnstile: as many as expire sessions and keys
// side by side.
const sharers = 2 * expiryAtOnce

func newTurnstile() turnstile {
	return turnstile{make(chan struct{}, sharers), make(chan struct{}, 1)}
}

func (t turnstile) share()   { t.places <- struct{}{} }
func (t turnstile) unshare() { <-t.places }

func (t turnstile) lock() {
	t.sole <- struct{}{}
	for range sharers {
		t.places <- struct{}{}
	}
}

func (t turnstile) unlock() {
	for range sharers {
		<-t.places
	}
	<-t.sole
}
