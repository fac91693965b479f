package rpcserver

import (
	"time"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

// What another leader has taken back raft 1.7.3 cuts off the end of the log, and then
// stores that leader's entries. If that fails it goes on as if the old end were still
// there, and refuses all entries up to it because it finds none of them: the server
// stays behind until it starts again. So entries behind a cut are stored again and
// again until that works. Raft waits meanwhile, as it does for a disk that hangs. A
// leader must not: it steps down when it cannot store, and has its own end right.

const (
	insistPause    = 100 * time.Millisecond // before the next attempt; twice as long each time
	insistPauseMax = 2 * time.Second
)

// StoreLogs stores entries.
func (t timedStore) StoreLogs(logs []*raft.Log) error {
	store := func() error {
		return t.write("log", func() error { return t.logStore.StoreLogs(logs) })
	}
	err := store()
	if err != nil && t.server.endIsCut.Load() && isClosed(t.server.raftLayer.up) && t.server.raft.State() != raft.Leader {
		err = t.server.insist(err, store)
	}
	if err == nil {
		t.server.endIsCut.Store(false)
	}
	return err
}

// insist stores until that works, the server stops, or the store is damaged: then
// nothing helps but a new start.
func (s *Server) insist(err error, store func() error) error {
	for pause := insistPause; err != nil && !structs.IsCode(err, structs.Corrupt); pause = min(2*pause, insistPauseMax) {
		s.logger.Error("cannot write the raft log behind a cut, will try until it works", "error", err, "next attempt in", pause)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return err
		}
		err = store()
	}
	return err
}

// DeleteRange deletes entries.
func (t timedStore) DeleteRange(first, last uint64) error {
	end, err := t.LastIndex()
	if err != nil {
		return err
	}
	err = t.write("cut", func() error { return t.logStore.DeleteRange(first, last) })
	if err == nil && last >= end {
		t.server.endIsCut.Store(true)
	}
	return err
}
