package rpcserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"time"

	raftchunking "github.com/hashicorp/go-raftchunking"
	"github.com/hashicorp/raft"

	"praetor/rpcserver/wire"
)

const (
	enqueueTimeout    = 30 * time.Second // for raft to take an entry in
	snapshotsRetained = 2
	logCacheEntries   = 512
)

// startRaft opens the log, recovers from lost quorum if asked to, bootstraps if
// asked to and nothing is there, and starts raft.
func (s *Server) startRaft() error {
	s.raftLayer = &raftLayer{server: s, conns: make(chan net.Conn), done: s.ctx.Done()}
	s.raftTrans = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                s.raftLayer,
		MaxPool:               3,
		Timeout:               10 * time.Second,
		ServerAddressProvider: s,
		Logger:                s.config.Logger.Named("raft"),
	})
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(s.config.NodeID)
	config.Logger = s.config.Logger.Named("raft")
	config.HeartbeatTimeout = s.config.Raft.HeartbeatTimeout
	config.ElectionTimeout = s.config.Raft.ElectionTimeout
	config.LeaderLeaseTimeout = s.config.Raft.LeaderLeaseTimeout
	config.PreVoteDisabled = s.config.Raft.PreVoteDisabled
	config.SnapshotThreshold = s.config.Raft.SnapshotThreshold
	config.SnapshotInterval = s.config.Raft.SnapshotInterval
	config.TrailingLogs = s.config.Raft.TrailingLogs
	config.ShutdownOnRemove = false
	config.NoLegacyTelemetry = true
	config.BatchApplyCh = true
	config.NotifyCh = s.notify

	var snapshots raft.SnapshotStore = raft.NewInmemSnapshotStore()
	if s.config.DataDir == "" {
		s.logs = memoryStore{raft.NewInmemStore()}
	} else {
		dir := filepath.Join(s.config.DataDir, "raft")
		var err error
		if s.logs, err = openLogStore(dir, s.config.Raft); err != nil {
			return err
		}
		if snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, snapshotsRetained, config.Logger); err != nil {
			return fmt.Errorf("cannot use the snapshot directory: %w", err)
		}
	}
	cache, err := raft.NewLogCache(logCacheEntries, s.logs)
	if err != nil {
		return fmt.Errorf("raft log cache: %w", err)
	}
	if s.config.DataDir != "" {
		if err := s.recoverQuorum(config, cache, snapshots); err != nil {
			return err
		}
	}
	if s.config.Bootstrap {
		exists, err := raft.HasExistingState(cache, s.logs, snapshots)
		if err != nil {
			return fmt.Errorf("look for raft state: %w", err)
		}
		if !exists {
			alone := raft.Configuration{Servers: []raft.Server{{ID: config.LocalID, Address: raft.ServerAddress(s.addr)}}}
			if err := raft.BootstrapCluster(config, cache, s.logs, snapshots, s.raftTrans, alone); err != nil {
				return fmt.Errorf("bootstrap: %w", err)
			}
		}
	}
	s.raft.server = s
	if s.raft.Raft, err = raft.NewRaft(config, s.fsm, cache, s.logs, snapshots, s.raftTrans); err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	s.watchLeader()
	return nil
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
	reloadable := s.raft.ReloadableConfig()
	reloadable.SnapshotThreshold = threshold
	reloadable.SnapshotInterval = interval
	reloadable.TrailingLogs = trailing
	return s.raft.ReloadConfig(reloadable)
}

// voters is how many servers vote; 0 if that cannot be told.
func (s *Server) voters() int {
	future := s.raft.GetConfiguration()
	if future.Error() != nil {
		return 0
	}
	n := 0
	for _, server := range future.Configuration().Servers {
		if server.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

// ServerAddr tells raft's transport where a server is now: it may have moved
// since it was put into the raft configuration.
func (s *Server) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if member, ok := s.members.byID(string(id)); ok {
		return raft.ServerAddress(member.addr), nil
	}
	return "", errors.New("server is not known to gossip")
}

// raftLayer gives raft the connections to the RPC port that are for it.
type raftLayer struct {
	server *Server
	conns  chan net.Conn
	done   <-chan struct{}
}

// hand passes on a connection whose first byte said raft, and returns when raft
// has closed it.
func (l *raftLayer) hand(conn net.Conn) {
	lent := &lentConn{Conn: conn, closed: make(chan struct{})}
	select {
	case l.conns <- lent:
		<-lent.closed
	case <-l.done:
		conn.Close()
	}
}

// lentConn says when it has been closed.
type lentConn struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

// Close closes the connection.
func (c *lentConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Accept waits for the next connection for raft.
func (l *raftLayer) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.done:
		return nil, io.EOF
	}
}

// Close is raft's word that it wants no more; the listener is not its to close.
func (l *raftLayer) Close() error { return nil }

// Addr is our address as other servers know it.
func (l *raftLayer) Addr() net.Addr { return rpcAddr(l.server.addr) }

// Dial opens a raft connection to another server.
func (l *raftLayer) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(l.server.ctx, timeout)
	defer cancel()
	conn, err := l.server.dial(ctx, string(addr))
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte{wire.ByteRaft}); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// rpcAddr is an advertised host:port.
type rpcAddr string

func (rpcAddr) Network() string  { return "tcp" }
func (a rpcAddr) String() string { return string(a) }
