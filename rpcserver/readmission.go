package rpcserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"praetor/fsm"
	"praetor/fsm/archive"
	"praetor/structs"
)

const (
	readmitPause    = time.Second // before the next attempt; twice as long each time
	readmitPauseMax = time.Minute
	followPatience  = time.Minute // for our raft to come to where the leader's snapshot is
)

// readmit gets the state from the leader and ends the quarantine, trying until
// that is done or the server stops.
func (s *Server) readmit() {
	for pause := readmitPause; ; pause = min(2*pause, readmitPauseMax) {
		err := s.renewFromLeader()
		if err == nil {
			break
		}
		if s.ctx.Err() != nil {
			return
		}
		s.logger.Warn("still in quarantine: cannot get the state from the leader", "error", err, "next attempt in", pause)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
			return
		}
	}
	s.muzzled.Store(false)
	s.quarantined.Store(nil)
	s.leader.fire()
	s.logger.Info("this server has the leader's state and is in service again", "entry", s.raft.AppliedIndex())
}

// renewFromLeader puts the leader's state in place, then on disk: the snapshots
// that are there may be of the wrong one.
func (s *Server) renewFromLeader() error {
	if s.fsm.Dropped() {
		if err := s.takeOverState(); err != nil {
			return err
		}
	}
	if err := s.questions.ask(func() error { return s.raft.Snapshot().Error() }); err != nil {
		return fmt.Errorf("take a snapshot of the state that the leader sent: %w", err)
	}
	if s.snapshots == nil {
		return nil
	}
	if err := s.snapshots.distrust(errors.New("it was taken before or while the state of this server was wrong")); err != nil {
		return fmt.Errorf("move snapshots aside that may be wrong: %w", err)
	}
	if err := os.Remove(s.quarantineFile()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(s.quarantineFile()))
}

// takeOverState asks the leader for a snapshot and brings it up to date from our
// log. Raft goes on meanwhile: what it stores and what it votes do not depend on
// the state.
func (s *Server) takeOverState() error {
	loaded, index, err := s.fetchState()
	if err != nil {
		return err
	}
	for end := time.Now().Add(followPatience); ; {
		err := s.fsm.TakeOver(loaded, index, s.Entry)
		if !structs.IsCode(err, structs.NotReady) || time.Now().After(end) {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-s.ctx.Done():
			return errStopping
		}
	}
}

// fetchState loads the leader's state, which it takes at a raft index. It gives
// up when there is another leader.
func (s *Server) fetchState() (*fsm.Loaded, uint64, error) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	defer context.AfterFunc(s.leader.next(), cancel)()
	addr := s.leaderAddr()
	if addr == "" {
		return nil, 0, structs.ErrNoLeader
	}
	var in io.ReadCloser
	q := structs.SnapshotRequest{Datacenter: s.config.Datacenter, Op: structs.SnapshotSave}
	if _, err := s.snapshotAtLeader(ctx, addr, &q, nil, &in); err != nil {
		return nil, 0, err
	}
	defer in.Close()
	spooled, err := archive.Spool(s.uploadDir(), in)
	if err != nil {
		return nil, 0, fmt.Errorf("read the leader's snapshot: %w", err)
	}
	defer spooled.Close()
	loaded, err := fsm.Load(spooled.File)
	if err != nil {
		return nil, 0, err
	}
	return loaded, spooled.Meta.Index, nil
}
