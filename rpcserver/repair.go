package rpcserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"praetor/structs"
)

// A server whose log or snapshot is damaged gets it again from its leader,
// without help. What makes that sound:
//
// It keeps its term and vote, so it votes in no term twice. They have checksums;
// if they do not fit, there is no repair.
//
// It has forgotten entries that it told a leader it had. Such an entry may be
// committed and be on one other server only, and a vote of ours for a third could
// make a leader that lacks it. So it neither votes nor stands for election until
// all that it ever had is committed here again: entries up to the index that its
// record says it had come to. Raft's log has one committed entry at an index, and
// whoever leads meanwhile was elected without us and has them all. If too many
// servers are damaged for a leader, there is none, and an operator must choose.
//
// It repairs itself only if it knows of another voter: alone, it would wait for
// ever for what nobody has.

var errRepairing = errors.New("this server lost a part of its log and does not vote until it has it again")

// repair makes a new log, empty but for term and vote, in the place of a damaged
// one, or returns why that cannot be.
func (s *Server) repair(cause error) error {
	file := filepath.Join(s.config.DataDir, "raft", "raft.db")
	record, values, err := salvage(file)
	if err != nil || record.owner != s.config.NodeID || record.peers == 0 || values["CurrentTerm"] == nil {
		return cause
	}
	record.repair = max(record.repair, record.last, record.snapshot)
	record.since, record.last, record.snapshot = 0, 0, 0
	fresh := &boltStore{file: file + ".new", record: record, values: values}
	if err := os.Remove(fresh.file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return cause
	}
	if err := fresh.make(s.config.Raft); err != nil {
		return fmt.Errorf("cannot make a new raft log in place of a damaged one: %w", err)
	}
	// There is a raft.db at every moment: without one the vote would be gone.
	aside := file + ".damaged-" + time.Now().UTC().Format("20060102T150405")
	if err := os.Link(file, aside); err != nil {
		return fmt.Errorf("cannot keep the damaged raft log: %w", err)
	}
	if err := os.Rename(fresh.file, file); err != nil {
		return fmt.Errorf("cannot put a new raft log in place of a damaged one: %w", err)
	}
	if dir, err := os.Open(filepath.Dir(file)); err == nil {
		dir.Sync()
		dir.Close()
	}
	s.logger.Error("this server's raft log or snapshot is damaged: getting it again from the leader; until then this server has no vote",
		"damage", cause, "until", record.repair, "damaged log", aside)
	if s.snapshots != nil {
		return s.snapshots.moveAside()
	}
	return nil
}

// make makes a new file of what the store has in memory.
func (b *boltStore) make(config Raft) error {
	if err := b.open(config); err != nil {
		return err
	}
	err := b.db.Update(func(tx *bbolt.Tx) error {
		for key, value := range b.values {
			if err := tx.Bucket(confBucket).Put([]byte(key), value); err != nil {
				return err
			}
		}
		return b.putRecord(tx)
	})
	return errors.Join(err, b.Close())
}

// salvage reads term, vote and record of a damaged file, which are what was
// written last: the meta pages are sound, and the checksums fit.
func salvage(file string) (r record, values map[string][]byte, err error) {
	defer func() {
		if p := recover(); p != nil { // something points beyond the end of something
			err = damaged(file, fmt.Errorf("%v", p))
		}
	}()
	f, err := os.Open(file)
	if err != nil {
		return r, nil, err
	}
	defer f.Close()
	w := pageWalk{file: f}
	meta, err := w.meta()
	if err != nil {
		return r, nil, err
	}
	page := make([]byte, meta.pageSize)
	if _, err := f.ReadAt(page, int64(meta.root*meta.pageSize)); err != nil {
		return r, nil, err
	}
	root := leafPairs(page)
	if len(root[string(confBucket)]) < 16 {
		return r, nil, damaged(file, errors.New("the stable values are gone"))
	}
	values = leafPairs(root[string(confBucket)][16:])
	stored := values[recordKey]
	delete(values, recordKey)
	if len(stored) < recordFixed {
		return r, nil, damaged(file, errors.New("the record of its checksums is gone"))
	}
	return r, values, r.decode(stored, values)
}

// leafPairs are the keys and values of a leaf page. It panics if they are not
// within the page.
func leafPairs(page []byte) map[string][]byte {
	pairs := map[string][]byte{}
	for i := range int(endian.Uint16(page[10:])) {
		e := page[pageHeader+i*pageElement:]
		pos, keySize, valueSize := endian.Uint32(e[4:]), endian.Uint32(e[8:]), endian.Uint32(e[12:])
		pairs[string(e[pos:pos+keySize])] = e[pos+keySize : pos+keySize+valueSize]
	}
	return pairs
}

// closeRaft undoes openRaft, as far as it got.
func (s *Server) closeRaft() {
	if s.raft.Raft != nil {
		s.raft.Shutdown().Error()
		s.raft.Raft = nil
	}
	s.raftTrans.Close()
	if s.logs != nil {
		s.logs.Close()
		s.logs = nil
	}
}

// awaitRepair waits until all that this server ever had is committed here, and
// then gives it its vote back.
func (s *Server) awaitRepair(store *boltStore, until uint64) {
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	for s.raft.AppliedIndex() < until {
		select {
		case <-every.C:
		case <-s.ctx.Done():
			return
		}
	}
	if err := store.repaired(); err != nil {
		s.logger.Error("cannot note that the log is whole again: no vote until the next start", "error", err)
		return
	}
	s.mute.Store(false)
	s.logger.Info("the log is whole again, this server votes", "index", until)
}

// mayHear are the calls that raft gets to see. A server without a vote of its
// own accord does not hear of elections.
func (s *Server) mayHear(calls <-chan raft.RPC) <-chan raft.RPC {
	heard := make(chan raft.RPC)
	s.tasks.Go(func() {
		for {
			select {
			case call := <-calls:
				if err := s.refusal(call.Command); err != nil {
					call.Respond(nil, err)
					continue
				}
				select {
				case heard <- call:
				case <-s.ctx.Done():
					call.Respond(nil, raft.ErrRaftShutdown)
					return
				}
			case <-s.ctx.Done():
				return
			}
		}
	})
	return heard
}

// refusal says why raft must not hear of a call; nil if it may.
func (s *Server) refusal(command any) error {
	if s.mute.Load() && isElection(command) {
		return errRepairing
	}
	if _, ok := command.(*raft.TimeoutNowRequest); ok {
		return s.quarantineError() // leadership is not for us; a vote for others is right, the log is
	}
	return nil
}

// mayStand returns nil if this server may stand for election.
func (s *Server) mayStand() error {
	if s.mute.Load() {
		return errRepairing
	}
	return s.quarantineError()
}

func isElection(command any) bool {
	switch command.(type) {
	case *raft.RequestVoteRequest, *raft.RequestPreVoteRequest, *raft.TimeoutNowRequest:
		return true
	}
	return false
}

// RequestVote asks another server for its vote.
func (t raftTransport) RequestVote(id raft.ServerID, target raft.ServerAddress, q *raft.RequestVoteRequest, reply *raft.RequestVoteResponse) error {
	if err := t.server.mayStand(); err != nil {
		return err
	}
	return t.NetworkTransport.RequestVote(id, target, q, reply)
}

// RequestPreVote asks another server whether it would vote for us.
func (t raftTransport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, q *raft.RequestPreVoteRequest, reply *raft.RequestPreVoteResponse) error {
	if err := t.server.mayStand(); err != nil {
		return err
	}
	return t.NetworkTransport.RequestPreVote(id, target, q, reply)
}

// Consumer is where raft gets the calls of others.
func (t raftTransport) Consumer() <-chan raft.RPC { return t.calls }

// transport is how raft talks to others. A store that is being repaired makes
// it mute.
func (s *Server) transport() raftTransport {
	t := raftTransport{s.raftTrans, s, s.raftTrans.Consumer()}
	store, ok := s.logs.(*boltStore)
	if ok && store.repairing() > 0 {
		s.mute.Store(true)
	}
	if s.mute.Load() || s.config.VerifyState || s.quarantined.Load() != nil {
		t.calls = s.mayHear(t.calls)
	}
	return t
}

// startOnDisk opens raft, after a repair if one is needed and can be.
func (s *Server) startOnDisk() error {
	err := s.openRaft()
	if s.config.DataDir == "" || !structs.IsCode(err, structs.Corrupt) {
		return err
	}
	s.closeRaft()
	if err := s.repair(err); err != nil {
		return err
	}
	s.renewState()
	return s.openRaft()
}
