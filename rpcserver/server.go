package rpcserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
	"github.com/hashicorp/serf/serf"

	"praetor/fsm"
	"praetor/rpcserver/client"
	"praetor/rpcserver/logstore"
	"praetor/rpcserver/wire"
	"praetor/structs"
)

// Server is one running server.
type Server struct {
	config Config // its Limits are those it started with
	limits atomic.Pointer[Limits]
	logger hclog.Logger
	addr   string // host:port that others reach our RPC port at

	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
	tasks  sync.WaitGroup // every goroutine we start

	listener net.Listener
	conns    conns
	pool     *client.Pool

	fsm       *fsm.FSM
	raft      handover // Raft is nil until it runs
	raftLayer *raftLayer
	raftTrans *raft.NetworkTransport
	logs      logStore
	store     *logstore.Store // logs, if they are on disk
	snapshots *indexedSnapshots
	mute      atomic.Bool // no vote: see repair.go
	mend      chan damage // at most one: see mend.go
	disk      diskClock
	late      atomic.Bool   // was sent a snapshot that it could not go on from: see hearing.go
	silent    atomic.Bool   // sends nothing as the leader, because the disk hangs: see stall.go
	shown     atomic.Uint64 // index that a stale read has shown here which the leader answered
	endIsCut  atomic.Bool   // nothing was stored behind the last cut yet: see cut.go
	frozen    atomic.Bool   // is no leader to anybody: silent, or raft does not know yet what came of it
	notify    chan bool     // raft's word on whether we lead

	readySnapshot readySnapshot // offered while replacing is held

	serf      *serf.Serf
	events    chan serf.Event
	members   members
	expecting atomic.Int64 // servers that a new cluster still waits for
	autopilot *autopilot.Autopilot
	clusterID atomic.Value // string; see identity.go

	readyTerm atomic.Uint64 // raft term in which we lead and have caught up
	joining   chan struct{} // full: one is joining gossip
	awaiting  atomic.Bool   // Config.AwaitState, until StartFrom has done its work
	caughtUp  atomic.Bool   // has once had everything that the leader had, since it started
	leader    signal        // fires when who leads, or whether we are ready, has changed
	reconcile chan serf.Member
	reassert  chan chan error
	proofs    proofs
	lease     lease
	leaving   atomic.Bool
	unknown   unknownNodes
	leavers   leavers

	userEvents  chan serf.UserEvent // on their way to Config.UserEvent
	coordinates coordinates         // that wait to be written

	verifier    verifier
	quarantined atomic.Pointer[quarantine] // nil: this server's state is right as far as it knows
	muzzled     atomic.Bool                // sends nothing as the leader, because of a quarantine

	sessions   sessionTimers
	lockDelays lockDelays
	replacing  turnstile // held to replace the whole state, and shared to expire something of it

	raftSettings sync.Mutex // held to change those that can change while raft runs

	space       diskSpace
	questions   questions
	handingOver atomic.Int32 // transfers of leadership under way
	inFlight    atomic.Int64 // methods at work or waiting

	shutdown sync.Once
	stopped  chan struct{}
}

// New starts a server. It returns once it listens, gossips and takes part in
// raft; it need not have a leader by then. A failed New leaves nothing behind.
func New(config Config) (*Server, error) {
	if config.Network == nil {
		config.Network = osNetwork{}
	}
	if config.Logger == nil {
		config.Logger = hclog.NewNullLogger()
	}
	if config.AdvertiseAddr == "" {
		config.AdvertiseAddr = config.BindAddr
	}
	if config.DiskFree == nil {
		config.DiskFree = diskFree
	}
	if config.BootstrapExpect == 1 {
		config.Bootstrap, config.BootstrapExpect = true, 0
	}
	s := &Server{
		config:     config,
		logger:     config.Logger.Named("server"),
		notify:     make(chan bool, 64),
		events:     make(chan serf.Event, 2048),
		userEvents: make(chan serf.UserEvent, eventQueue),
		reconcile:  make(chan serf.Member, 256),
		reassert:   make(chan chan error),
		mend:       make(chan damage, 1),
		replacing:  newTurnstile(),
		stopped:    make(chan struct{}),
		joining:    make(chan struct{}, 1),
		lease:      lease{lasts: config.Raft.LeaderLeaseTimeout},
	}
	s.awaiting.Store(config.AwaitState)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.pool = client.NewPool(s.dial, 5*time.Second, wire.Limits{MaxBody: 1 << 30, Stall: 30 * time.Second})
	s.renewState()
	s.expecting.Store(int64(config.BootstrapExpect))
	if err := s.start(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// renewState begins with an empty state, which raft then fills.
func (s *Server) renewState() {
	s.fsm = fsm.New()
	if s.config.VerifyState {
		s.fsm.OnVerify(s.sight)
	}
	s.SetLimits(s.config.Limits)
}

func (s *Server) start() error {
	for _, dir := range []string{"raft", "serf"} {
		if s.config.DataDir == "" {
			break
		}
		if err := os.MkdirAll(filepath.Join(s.config.DataDir, dir), 0o700); err != nil {
			return fmt.Errorf("cannot use the data directory: %w", err)
		}
	}
	var err error
	bind := net.JoinHostPort(s.config.BindAddr, strconv.Itoa(s.config.RPCPort))
	if s.listener, err = s.config.Network.Listen(bind); err != nil {
		return fmt.Errorf("cannot listen on the RPC port (ports.server): %w", err)
	}
	_, port, err := net.SplitHostPort(s.listener.Addr().String())
	if err != nil {
		return fmt.Errorf("RPC listener: %w", err)
	}
	s.addr = net.JoinHostPort(s.config.AdvertiseAddr, port)
	if err := s.readQuarantine(); err != nil {
		return err
	}
	if err := s.startRaft(); err != nil {
		return err
	}
	s.resumeQuarantine()
	s.tasks.Go(s.listen)
	if err := s.startSerf(); err != nil {
		return err
	}
	s.autopilot = s.newAutopilot()
	if s.config.DataDir != "" {
		s.tasks.Go(s.watchDisk)
		s.tasks.Go(s.mendLog)
	}
	if s.config.Raft.StallLimit > 0 {
		s.tasks.Go(s.watchStall)
	}
	s.tasks.Go(s.handleEvents)
	s.tasks.Go(s.deliverEvents)
	s.tasks.Go(s.watchLeadership)
	s.tasks.Go(s.learnClusterID)
	s.tasks.Go(s.keepOwnNode)
	s.tasks.Go(s.resync)
	s.tasks.Go(s.rejoin)
	s.tasks.Go(s.reportQuarantine)
	if !s.config.DisableCoordinates {
		s.tasks.Go(s.sendCoordinate)
	}
	s.logger.Info("server is up", "id", s.config.NodeID, "rpc", s.addr)
	return nil
}

// Addr is the address, host:port, at which others reach the RPC port.
func (s *Server) Addr() string { return s.addr }

// Config returns the configuration that the server runs with.
func (s *Server) Config() Config {
	config := s.config
	config.Limits = *s.limits.Load()
	return config
}

// FSM returns the state machine. It is there for tools and tests that look at
// the state as a whole; requests go through Call.
func (s *Server) FSM() *fsm.FSM { return s.fsm }

// Raft returns the raft node, for statistics and tests.
func (s *Server) Raft() *raft.Raft { return s.raft.Raft }

// IsLeader reports whether this server leads and is ready to serve.
func (s *Server) IsLeader() bool { return s.ready() }

// leaderChanged returns a channel that closes when who leads, or whether we are
// ready to, has changed.
func (s *Server) leaderChanged() <-chan struct{} { return s.leader.next().Done() }

// InFlight is how many methods are at work or wait, for clients and for other servers.
func (s *Server) InFlight() int { return int(s.inFlight.Load()) }

// Done closes when the server has stopped.
func (s *Server) Done() <-chan struct{} { return s.stopped }

// Shutdown stops the server without leaving the cluster: it will be back. If it
// leads, it hands that over first, so that nobody has to wait for an election.
// A second call waits for the first.
func (s *Server) Shutdown() error {
	s.leaving.Store(true)
	s.handOver()
	return s.Kill()
}

// handOver hands leadership over before this server ends, if it leads others.
func (s *Server) handOver() {
	if s.isRaftLeader() && s.voters() > 1 {
		if err := s.raft.LeadershipTransfer().Error(); err != nil {
			s.logger.Warn("could not hand over leadership before leaving or stopping", "error", err)
		}
	}
}

// Kill stops the server as a crash would, handing nothing over. A second call
// waits for the first.
func (s *Server) Kill() error {
	var err error
	s.shutdown.Do(func() {
		err = s.stop()
		close(s.stopped)
	})
	<-s.stopped
	return err
}

// stop undoes start, as far as it got.
func (s *Server) stop() error {
	s.cancel()
	s.leader.fire()
	var errs []error
	if s.serf != nil {
		errs = append(errs, s.serf.Shutdown())
	}
	if s.listener != nil {
		s.listener.Close()
	}
	if s.raft.Raft != nil {
		s.questions.end(proofPatience)
		errs = append(errs, s.raft.Shutdown().Error())
	}
	if s.raftTrans != nil {
		s.raftTrans.Close()
		s.raftTrans.CloseStreams() // Close leaves the pooled ones open
	}
	s.pool.Close()
	s.conns.closeAll()
	s.tasks.Wait()
	if s.logs != nil {
		errs = append(errs, s.logs.Close())
	}
	return errors.Join(errs...)
}

// Stats are figures for people, by section.
func (s *Server) Stats() map[string]map[string]string {
	leader, _ := s.raft.LeaderWithID()
	return map[string]map[string]string{
		"consul": {
			"server":            "true",
			"leader":            strconv.FormatBool(s.isRaftLeader()),
			"leader_addr":       string(leader),
			"bootstrap":         strconv.FormatBool(s.config.Bootstrap),
			"known_datacenters": "1",
			"cluster_id":        s.ownCluster(),
			"epoch":             s.Epoch(),
		},
		"raft":     s.raft.Stats(),
		"verify":   s.verifyStats(),
		"serf_lan": s.serf.Stats(),
	}
}

// checkSize refuses a value that is over the limit.
func (s *Server) checkSize(what string, size int) error {
	limit := s.limits.Load().KVMaxValueSize
	if size <= limit {
		return nil
	}
	return structs.Errorf(structs.TooLarge, "%s is too large (%d > %d bytes): raise limits.kv_max_value_size",
		what, size, limit)
}
