package rpcserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	raftchunking "github.com/hashicorp/go-raftchunking"
	"github.com/hashicorp/raft"

	"praetor/rpcserver/logstore"
)

const (
	enqueueTimeout    = 30 * time.Second // for raft to take an entry in
	snapshotsRetained = 2
	logCacheEntries   = 512
)

// startRaft opens the log, recovers from lost quorum if asked to, bootstraps if
// asked to and nothing is there, and starts raft.
func (s *Server) startRaft() error {
	if err := s.startOnDisk(); err != nil {
		return s.remedy(err)
	}
	close(s.raftLayer.up)
	if s.repairing() {
		s.tasks.Go(s.awaitRepair)
	}
	s.watchLeader()
	return s.electAlone()
}

// electAlone has the only voter there is elect itself. Raft would first wait for
// a leader, which nobody else can be, as long as for any. It looks at once when
// its timeout gets shorter, so it was started with one that is a bit longer.
func (s *Server) electAlone() error {
	others, votes := s.whoVotes()
	if len(others) > 0 || !votes || s.mute.Load() {
		return nil
	}
	s.raftSettings.Lock()
	defer s.raftSettings.Unlock()
	settings := s.raft.ReloadableConfig()
	settings.HeartbeatTimeout = s.config.Raft.HeartbeatTimeout
	return s.raft.ReloadConfig(settings)
}

// patience is what electAlone takes away. It must not count beside the timeout,
// which others keep.
const patience = time.Microsecond

// logStore keeps raft's log and its few stable values.
type logStore interface {
	raft.LogStore
	raft.StableStore
	io.Closer
}

// memoryStore is for development: it forgets.
type memoryStore struct{ *raft.InmemStore }

func (memoryStore) Close() error { return nil }

func (s *Server) logOptions() logstore.Options {
	r := s.config.Raft
	return logstore.Options{Backend: r.Backend, FreelistSync: r.FreelistSync, SegmentSize: r.SegmentSize}
}

func (s *Server) openRaft() error {
	s.raftLayer = &raftLayer{server: s, conns: make(chan net.Conn), done: s.ctx.Done(), up: make(chan struct{}), closed: make(chan struct{})}
	s.raftTrans = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                s.raftLayer,
		MaxPool:               3,
		Timeout:               10 * time.Second,
		ServerAddressProvider: s.raftLayer,
		Logger:                s.config.Logger.Named("raft"),
	})
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(s.config.NodeID)
	config.Logger = s.config.Logger.Named("raft")
	config.HeartbeatTimeout = s.config.Raft.HeartbeatTimeout + patience
	config.ElectionTimeout = s.config.Raft.ElectionTimeout + patience
	config.LeaderLeaseTimeout = s.config.Raft.LeaderLeaseTimeout
	config.PreVoteDisabled = s.config.Raft.PreVoteDisabled
	config.SnapshotThreshold = s.config.Raft.SnapshotThreshold
	config.SnapshotInterval = s.config.Raft.SnapshotInterval
	config.TrailingLogs = s.config.Raft.TrailingLogs
	config.ShutdownOnRemove = false
	config.NoLegacyTelemetry = true
	config.BatchApplyCh = true
	config.NotifyCh = s.notify

	snapshots := &indexedSnapshots{SnapshotStore: raft.NewInmemSnapshotStore(), owner: s.config.NodeID, ready: &s.readySnapshot, disk: s.config.Raft}
	if s.config.DataDir == "" {
		s.logs = memoryStore{raft.NewInmemStore()}
	} else {
		dir := filepath.Join(s.config.DataDir, "raft")
		var err error
		if s.store, err = logstore.Open(dir, s.config.NodeID, s.logOptions()); err != nil {
			return err
		}
		s.logs = s.store
		if snapshots.SnapshotStore, err = raft.NewFileSnapshotStoreWithLogger(dir, snapshotsRetained, config.Logger); err != nil {
			return fmt.Errorf("cannot use the snapshot directory: %w", err)
		}
		// Neither bbolt nor raft sync the directories that they make files in.
		if err := errors.Join(syncDir(dir), syncDir(s.config.DataDir)); err != nil {
			return fmt.Errorf("cannot sync the data directory: %w", err)
		}
		_ = syncDir(filepath.Dir(s.config.DataDir)) // we need not be allowed to read it
		snapshots.dir = dir
		s.snapshots = snapshots
		snapshots.log = s.store
	}
	store := timedStore{s.logs, s}
	cache, err := raft.NewLogCache(logCacheEntries, store)
	if err != nil {
		return fmt.Errorf("raft log cache: %w", err)
	}
	if s.config.DataDir != "" {
		if err := s.recoverQuorum(config, cache, snapshots); err != nil {
			return err
		}
	}
	if s.config.Bootstrap {
		exists, err := raft.HasExistingState(cache, store, snapshots)
		if err != nil {
			return fmt.Errorf("look for raft state: %w", err)
		}
		if !exists {
			alone := raft.Configuration{Servers: []raft.Server{{ID: config.LocalID, Address: raft.ServerAddress(s.addr)}}}
			if err := raft.BootstrapCluster(config, cache, store, snapshots, s.raftTrans, alone); err != nil {
				return fmt.Errorf("bootstrap: %w", err)
			}
		}
	}
	s.raft.server = s
	return s.newRaft(config, cache, store, snapshots)
}

// watchLeader tells those who wait for a leader when there is another one.
func (s *Server) watchLeader() {
	changes := make(chan raft.Observation, 16)
	observer := raft.NewObserver(changes, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	s.raft.RegisterObserver(observer)
	s.tasks.Go(func() {
		defer s.raft.DeregisterObserver(observer)
		for {
			select {
			case <-changes:
				s.leader.fire()
			case <-s.ctx.Done():
				return
			}
		}
	})
}

// log puts an entry in the raft log, in parts if it is large.
func (s *Server) log(entry []byte) raft.ApplyFuture {
	if len(entry) > raft.SuggestedMaxDataSize {
		return raftchunking.ChunkingApply(entry, nil, enqueueTimeout, s.raft.ApplyLog)
	}
	return s.raft.ApplyLog(raft.Log{Data: entry}, enqueueTimeout)
}

// Reload puts new raft settings into force: those about snapshots can change
// while the server runs.
func (s *Server) Reload(threshold uint64, interval time.Duration, trailing uint64) error {
	s.raftSettings.Lock()
	defer s.raftSettings.Unlock()
	reloadable := s.raft.ReloadableConfig()
	reloadable.SnapshotThreshold = threshold
	reloadable.SnapshotInterval = interval
	reloadable.TrailingLogs = trailing
	return s.raft.ReloadConfig(reloadable)
}

// voters is how many servers vote; 0 if that cannot be told.
func (s *Server) voters() int {
	others, self := s.whoVotes()
	if self {
		return len(others) + 1
	}
	return len(others)
}

// whoVotes are the other voters in the raft configuration, and whether this
// server is one.
func (s *Server) whoVotes() (others []raft.ServerID, self bool) {
	future := s.raft.GetConfiguration()
	if future.Error() != nil {
		return nil, false
	}
	for _, m := range future.Configuration().Servers {
		switch {
		case m.Suffrage != raft.Voter:
		case m.ID == raft.ServerID(s.config.NodeID):
			self = true
		default:
			others = append(others, m.ID)
		}
	}
	return others, self
}
