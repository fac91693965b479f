package rpcserver

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// maxAnswers is how many answers may wait for raft to look at them.
const maxAnswers = 256

// raftTransport is raft's own, but for one thing: in raft 1.7.3 a leader that
// steps down may stop looking at the answers of a pipeline while it still sends
// into it. Neither side then lets go of the other, and raft never shuts down.
// Here answers are always taken, so that sending goes on until raft notices.
type raftTransport struct {
	*raft.NetworkTransport
	server *Server
	calls  <-chan raft.RPC // what raft gets to see of those that come in
}

// AppendEntriesPipeline opens a pipeline to another server.
func (t raftTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	if err := t.server.gag(); err != nil {
		return nil, err
	}
	inner, err := t.NetworkTransport.AppendEntriesPipeline(id, target)
	if err != nil {
		return nil, err
	}
	p := &pipeline{AppendPipeline: inner, server: t.server, answers: make(chan raft.AppendFuture, maxAnswers), done: make(chan struct{})}
	go p.take()
	return p, nil
}

type pipeline struct {
	raft.AppendPipeline
	server  *Server
	answers chan raft.AppendFuture
	done    chan struct{}
	once    sync.Once
}

func (p *pipeline) take() {
	for {
		select {
		case answer := <-p.AppendPipeline.Consumer():
			select {
			case p.answers <- answer:
			case <-p.done:
				return
			}
		case <-p.done:
			return
		}
	}
}

// AppendEntries sends entries.
func (p *pipeline) AppendEntries(q *raft.AppendEntriesRequest, reply *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	if err := p.server.gag(); err != nil {
		return nil, err
	}
	return p.AppendPipeline.AppendEntries(q, reply)
}

// AppendEntries sends entries or a heartbeat.
func (t raftTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, q *raft.AppendEntriesRequest, reply *raft.AppendEntriesResponse) error {
	if err := t.server.gag(); err != nil {
		return err
	}
	sent := time.Now()
	err := t.NetworkTransport.AppendEntries(id, target, q, reply)
	if err == nil && reply.Term == q.Term {
		t.server.lease.answered(id, q.Term, sent)
	}
	return err
}

// gag says why this server sends nothing as the leader; nil if it may.
func (s *Server) gag() error {
	switch {
	case s.silent.Load():
		return errSilent
	case s.muzzled.Load():
		return s.quarantineError()
	}
	return nil
}

// InstallSnapshot sends a snapshot, unless it may be of a state that is wrong.
func (t raftTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, q *raft.InstallSnapshotRequest, reply *raft.InstallSnapshotResponse, data io.Reader) error {
	if err := t.server.quarantineError(); err != nil {
		return err
	}
	return t.NetworkTransport.InstallSnapshot(id, target, q, reply, data)
}

var errSilent = errors.New("this server's disk hangs, so that it does not act as the leader")

// Consumer is where raft gets the answers.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close ends the pipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.done) })
	return p.AppendPipeline.Close()
}
