package rpcserver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/serf/serf"

	"praetor/structs"
)

const (
	barrierTimeout   = 2 * time.Minute
	establishRetry   = 5 * time.Second
	reassertPatience = time.Minute
)

// watchLeadership starts the leader's duties when raft says that we lead, and
// ends them when it says that we no longer do.
func (s *Server) watchLeadership() {
	end := func() {}
	defer func() { end() }()
	for {
		select {
		case leads := <-s.notify:
			end()
			end = func() {}
			if !leads {
				s.logger.Info("lost leadership")
				s.leader.fire()
				continue
			}
			s.logger.Info("gained leadership")
			ctx, cancel := context.WithCancel(s.ctx)
			var duties sync.WaitGroup
			duties.Go(func() { s.lead(ctx) })
			end = func() {
				cancel()
				duties.Wait()
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// lead does the leader's duties until ctx ends.
func (s *Server) lead(ctx context.Context) {
	if err := s.serf.UserEvent("consul:new-leader", []byte(s.config.NodeName), false); err != nil {
		s.logger.Warn("cannot tell the others that we lead", "error", err)
	}
	established := false
	revoke := func() {}
	defer func() { revoke() }()
	establish := func() error {
		revoke()
		var err error
		revoke, err = s.establish(ctx)
		established = err == nil
		if err != nil {
			s.logger.Error("cannot take up the leader's duties", "error", err)
		}
		return err
	}
	if establish() != nil && ctx.Err() == nil {
		if err := s.raft.LeadershipTransfer().Error(); err != nil { // somebody else may be able to
			s.logger.Warn("could not hand over leadership", "error", err)
		}
	}
	every := time.NewTicker(s.config.ReconcileEvery)
	defer every.Stop()
	retry := time.NewTicker(establishRetry)
	defer retry.Stop()
	look := time.NewTicker(leavingLook)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			if established {
				s.reconcileAll()
			}
		case <-retry.C:
			if !established {
				establish()
			}
		case m := <-s.reconcile:
			if established && !s.awaiting.Load() {
				s.reconcileMember(s.asNow(m))
			}
		case <-look.C:
			if established && !s.awaiting.Load() {
				s.lookAtLeavers()
			}
		case done := <-s.reassert:
			done <- establish()
		}
	}
}

// establish makes this server serve as the leader: first everything that was
// committed before must be applied here. revoke undoes it.
func (s *Server) establish(ctx context.Context) (revoke func(), err error) {
	ctx, stop := context.WithCancel(ctx)
	revoke = func() {
		stop()
		s.readyTerm.Store(0)
		s.sessions.stop()
		s.lockDelays.forget()
		<-s.autopilot.Stop()
	}
	if err := s.quarantineError(); err != nil {
		return revoke, err
	}
	term := s.raft.CurrentTerm()
	if err := s.barrier(barrierTimeout); err != nil {
		return revoke, fmt.Errorf("wait for the log to be applied: %w", applyError(err))
	}
	if err := s.settleConfiguration(); err != nil {
		return revoke, fmt.Errorf("write the raft configuration: %w", err)
	}
	if s.fsm.Store().Read().Autopilot() == nil {
		if _, err := s.apply(&structs.AutopilotRequest{Datacenter: s.config.Datacenter, Config: s.config.Autopilot}); err != nil {
			return revoke, fmt.Errorf("write the autopilot configuration: %w", err)
		}
	}
	if err := s.keepClusterID(); err != nil {
		return revoke, fmt.Errorf("write the cluster id: %w", err)
	}
	if err := s.keepEpoch(); err != nil {
		return revoke, fmt.Errorf("write the epoch: %w", err)
	}
	s.coordinates.take() // of an earlier term: their nodes have sent newer ones elsewhere
	// Our own node comes before we are ready, so that whoever is served can make
	// sessions on it.
	if err := s.reconcileNode(s.serf.LocalMember()); err != nil {
		s.logger.Warn("cannot put our own node into the catalog", "error", err)
	}
	s.noteSessions()
	s.sessions.start(s.fsm.Store())
	s.unknown.reset()
	s.leavers.reset()
	s.readyTerm.Store(term)
	s.leader.fire()
	s.autopilot.Start(ctx)
	s.tasks.Go(func() { s.reapTombstones(ctx) })
	s.tasks.Go(func() { s.writeCoordinates(ctx) })
	s.tasks.Go(func() { s.noteLockDelays(ctx) })
	s.tasks.Go(func() { s.expireSessions(ctx) })
	s.tasks.Go(func() { s.expireKeys(ctx) })
	s.tasks.Go(func() { s.keepBackups(ctx) })
	s.tasks.Go(func() { s.askForVerification(ctx) })
	s.reconcileAll()
	return revoke, nil
}

// barrier waits until everything that was committed before is applied here.
func (s *Server) barrier(timeout time.Duration) error {
	return s.questions.ask(func() error { return s.raft.Barrier(timeout).Error() })
}

// reestablish has the leader's duties taken up anew, after a restore has put
// another state under them.
func (s *Server) reestablish() error {
	done := make(chan error, 1)
	timeout := time.After(reassertPatience)
	select {
	case s.reassert <- done:
	case <-timeout:
		return structs.Errorf(structs.NotReady, "the leader did not take up its duties after the restore")
	case <-s.ctx.Done():
		return structs.Errorf(structs.Leaving, "server is shutting down")
	}
	select {
	case err := <-done:
		return err
	case <-timeout:
		return structs.Errorf(structs.NotReady, "the leader did not take up its duties after the restore")
	}
}

// reconcileAll makes the raft configuration and the catalog agree with gossip.
func (s *Server) reconcileAll() {
	if s.awaiting.Load() {
		return
	}
	members := s.serf.Members()
	for _, m := range members {
		s.reconcileMember(m)
	}
	s.reconcileUnknown(members)
}

// asNow is a member as gossip sees it now: what we were told of it may be from
// a time when another server led.
func (s *Server) asNow(m serf.Member) serf.Member {
	for _, now := range s.serf.Members() {
		if now.Name == m.Name {
			return now
		}
	}
	m.Status = serf.StatusNone // forgotten
	return m
}

// reconcileMember does so for one member.
func (s *Server) reconcileMember(m serf.Member) {
	s.leavers.note(m)
	if server, ok := parseServer(m, s.config.Datacenter); ok && !s.reconcilePeer(m, server) {
		return
	}
	if err := s.reconcileNode(m); err != nil && s.ctx.Err() == nil {
		s.logger.Warn("cannot bring a member's place in the catalog up to date", "member", m.Name, "status", m.Status, "error", err)
	}
}

// reconcilePeer gives a server its place in raft. A failed server stays a peer:
// it may come back, and autopilot looks after those that do not. It reports
// whether the server is one of this cluster.
func (s *Server) reconcilePeer(m serf.Member, server member) bool {
	var err error
	switch m.Status {
	case serf.StatusAlive:
		if err := s.checkCluster(&m); err != nil {
			s.logger.Error("not adding a server to raft", "error", err)
			return false
		}
		if server.bootstrap && server.id != s.config.NodeID && s.config.Bootstrap {
			s.logger.Error("two servers were started with -bootstrap: not adding the other one", "server", server.name)
			return false
		}
		err = s.autopilot.AddServer(s.autopilotServer(server))
	case serf.StatusLeft, serf.StatusNone:
		if server.id != s.config.NodeID {
			err = s.autopilot.RemoveServer(raftID(server.id))
		}
	}
	if err != nil {
		s.logger.Warn("cannot bring a server's place in raft up to date", "server", server.name, "status", m.Status, "error", err)
	}
	return true
}
