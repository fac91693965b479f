package rpcserver

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/raft"

	"praetor/structs"
)

// newRaft starts raft on what is on disk, or says in one sentence why it cannot.
// Raft reads every entry behind the newest snapshot, and panics at one that it
// cannot read.
func (s *Server) newRaft(config *raft.Config, cache raft.LogStore, stable raft.StableStore, snapshots *indexedSnapshots) (err error) {
	if err := raft.ValidateConfig(config); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	defer func() {
		if p := recover(); p != nil {
			err = s.undone(fmt.Errorf("%v", p), snapshots)
		}
	}()
	node, err := raft.NewRaft(config, s.fsm, cache, stable, snapshots, s.transport())
	if err != nil {
		return s.undone(err, snapshots)
	}
	s.raft.Raft = node
	if s.store == nil {
		return nil
	}
	// An older snapshot takes the place of a damaged one, and a log may have lost
	// its end: that must not take us back before what was promised to others.
	if last, reached := node.LastIndex(), s.store.Reached(); last < reached {
		return s.undone(fmt.Errorf("what is left ends at entry %d, and this server had come to %d", last, reached), snapshots)
	}
	if err := dropOldLog(node, cache); err != nil {
		return fmt.Errorf("delete the raft log from before the newest snapshot: %w", err)
	}
	if trouble := snapshots.trouble(); len(trouble) > 0 {
		s.logger.Error("a snapshot is damaged; the one before it and the log make up for it, and it is moved to raft/damaged", "damage", trouble)
		return snapshots.moveAside()
	}
	return nil
}

// dropOldLog deletes a log that ends before the snapshot that raft has loaded. Raft
// does so itself after it has loaded one that the leader sent; if the server ends
// between the two, raft leaves the log as it is at the next start, and a library
// that takes no gaps refuses every entry from then on. Raft hears no entries yet.
func dropOldLog(node *raft.Raft, log raft.LogStore) error {
	first, err := log.FirstIndex()
	if err != nil || first == 0 {
		return err
	}
	last, err := log.LastIndex()
	if err != nil || last >= node.LastIndex() {
		return err
	}
	return log.DeleteRange(first, last)
}

// undone is the error of a start that damage has ended.
func (s *Server) undone(err error, snapshots *indexedSnapshots) error {
	if s.config.DataDir == "" {
		return fmt.Errorf("start raft: %w", err)
	}
	if s.hasHole(snapshots) { // raft says no more than that an entry is not there
		err = errors.New("entries are missing between the snapshot and the end of the log")
	}
	what := append([]string{err.Error()}, snapshots.trouble()...)
	return structs.Errorf(structs.Corrupt, "cannot start from %s: %s", filepath.Join(s.config.DataDir, "raft"), strings.Join(what, "; "))
}

// hasHole reports whether the log begins behind the end of the newest snapshot
// that is whole.
func (s *Server) hasHole(snapshots *indexedSnapshots) bool {
	first, err := s.logs.FirstIndex()
	if err != nil {
		return false
	}
	list, err := snapshots.List()
	if err != nil {
		return false
	}
	bad := snapshots.damagedDirs()
	list = slices.DeleteFunc(list, func(m *raft.SnapshotMeta) bool { return bad[m.ID] != "" })
	return len(list) == 0 && first > 1 || len(list) > 0 && first > list[0].Index+1
}

// remedy adds to an error about damage what can be done.
func (s *Server) remedy(err error) error {
	if !structs.IsCode(err, structs.Corrupt) {
		return err
	}
	return structs.Errorf(structs.Corrupt, "%v. Nothing was thrown away. If other servers of the cluster have a leader: run "+
		"`praetor operator raft remove-peer -id=%s` on one of them, move %s away and start this server again, which then gets all "+
		"of it from them (without the remove-peer, an acknowledged write could get lost). If this was the only server: put "+
		"the directory back from a copy, or start with an empty one and run `praetor snapshot restore` with the newest snapshot; "+
		"what was written after that is lost", err, s.config.NodeID, filepath.Join(s.config.DataDir, "raft"))
}
